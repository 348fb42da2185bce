# SPDX-License-Identifier: Apache-2.0
"""Rule sets of realistic size and mixture for a VM that moves, in testpmd's grammar.

Rules name endpoints instead of port numbers. The transmit rules control the packets from the VM:
they drop spoofed and forbidden packets, pass ARP, pings and some services, and drop everything
else. The receive rules control the packets to the VM: rules on the uplink and on the neighbors that
send to it, rules that drop, and the VM's own inbound policy (`egress`).

The filler rules are distinct and come from a seeded generator, so every run has the same rules.
They match no packet of the demo's guests.
"""

import dataclasses
import random

# Probes that rules must drop. From the VM that moves:
UDP_DENIED = 6666  # by an ingress rule
UDP_DENIED_BY_TRANSFER = 6667  # by a transfer rule that names the VM as origin
TCP_DENIED = 23
# To the VM that moves:
UDP_DENIED_AT_SENDER = 7777  # by a rule on the sending neighbor
UDP_DENIED_INBOUND = 7778  # by the VM's own inbound policy, and by rules on the uplinks
# Probes that pass:
UDP_PERMITTED = 5000


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """The properties of a VM's NIC that rules use."""

    name: str
    mac: str
    ip: str


def _create(owner, attributes, pattern, actions):
    return f"flow create {owner} {attributes} pattern {pattern} / end actions {actions} / end"


class _Fillers:
    """Patterns for traffic that the demo never sends, in several shapes (sets of masks)."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._seen = set()

    def match(self, side="src"):
        """Returns a new pattern from ipv4 on. `side` selects the addresses that it names."""
        while True:
            text = self._random.choice(self._SHAPES)(self, side)
            if text not in self._seen:
                self._seen.add(text)
                return text

    def _network(self, bits):
        address = (10 << 24 | 1 << 23 | self._random.getrandbits(23)) & -(1 << (32 - bits))
        return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))

    def _port(self):
        return self._random.randint(8000, 30000)

    def _host_and_port(self, side):
        return (
            f"ipv4 {side} is {self._network(32)} / {self._random.choice(['tcp', 'udp'])} "
            f"dst is {self._port()}"
        )

    def _network_and_port(self, side):
        bits = self._random.choice([16, 20, 24])
        return (
            f"ipv4 {side} spec {self._network(bits)} {side} prefix {bits} / "
            f"tcp dst is {self._port()}"
        )

    def _network_alone(self, side):
        return f"ipv4 {side} spec {self._network(24)} {side} prefix 24 / udp"

    def _port_range(self, _side):
        first = self._port()
        return (
            f"ipv4 / udp dst spec {first} dst last {first + self._random.randint(1, 500)} "
            "dst mask 65535"
        )

    def _both_ports(self, _side):
        return f"ipv4 / tcp src is {self._port()} dst is {self._port()}"

    def _dscp(self, side):
        return f"ipv4 tos is {self._random.randrange(4, 252, 4)} {side} is {self._network(32)}"

    _SHAPES = (_host_and_port, _network_and_port, _network_alone, _port_range, _both_ports, _dscp)


def transmit_rules(vm, neighbours, count=1000):
    """Returns exactly `count` transmit rules: ingress, and transfer with the VM as origin."""
    own = f"eth src is {vm.mac}"
    rules = [
        _create(
            vm.name, "ingress priority 10", f"eth / ipv4 / udp dst is {UDP_DENIED}", "count / drop"
        ),
        _create(
            vm.name, "ingress priority 10", f"eth / ipv4 / tcp dst is {TCP_DENIED}", "count / drop"
        ),
        _create(
            vm.name,
            "transfer priority 10",
            f"represented_port ethdev_port_id is {vm.name} / eth / ipv4 "
            f"/ udp dst is {UDP_DENIED_BY_TRANSFER}",
            "count / drop",
        ),
        _create(
            vm.name,
            "ingress priority 300",
            f"{own} / arp_eth_ipv4 sha is {vm.mac} spa is {vm.ip}",
            "normal",
        ),
        _create(
            vm.name,
            "ingress priority 300",
            f"{own} / ipv4 src is {vm.ip} / udp dst is {UDP_PERMITTED}",
            "normal",
        ),
        _create(vm.name, "ingress priority 9999", "eth", "count / drop"),
    ]
    for neighbour in neighbours:
        rules.append(
            _create(
                vm.name,
                "ingress priority 300",
                f"{own} / ipv4 src is {vm.ip} dst is {neighbour.ip} / icmp",
                f"count / represented_port ethdev_port_id {neighbour.name}",
            )
        )
    fillers = _Fillers(f"transmit {vm.name}")
    while len(rules) < count:
        match = fillers.match("dst")
        if len(rules) % 20 == 0:
            rules.append(
                _create(
                    vm.name,
                    "transfer priority 100",
                    f"represented_port ethdev_port_id is {vm.name} / eth / {match}",
                    "drop",
                )
            )
        elif len(rules) % 3 == 0:
            rules.append(
                _create(vm.name, "ingress priority 200", f"{own} / {match}", "count / normal")
            )
        elif len(rules) % 7 == 0:
            neighbour = neighbours[len(rules) % len(neighbours)]
            rules.append(
                _create(
                    vm.name,
                    "ingress priority 200",
                    f"{own} / {match}",
                    f"represented_port ethdev_port_id {neighbour.name}",
                )
            )
        else:
            rules.append(_create(vm.name, "ingress priority 100", f"eth / {match}", "drop"))
    return rules


def inbound_rules(vm, count=20):
    """Returns the VM's own inbound policy, which moves with it."""
    fillers = _Fillers(f"inbound {vm.name}")
    rules = [
        _create(
            vm.name,
            "egress priority 10",
            f"eth / ipv4 / udp dst is {UDP_DENIED_INBOUND}",
            "count / drop",
        ),
        _create(vm.name, "egress priority 9999", "eth", "passthru"),
    ]
    while len(rules) < count:
        rules.append(_create(vm.name, "egress priority 100", f"eth / {fillers.match()}", "drop"))
    return rules


def receive_rules(vm, uplink, local, remote, count=1000):
    """Returns one host's receive rules: exactly `count` that send to the VM, and some that drop.

    `local` is the endpoint of this host that stays, `remote` the one of the other host.
    """
    to_vm = f"represented_port ethdev_port_id {vm.name}"
    towards = f"eth dst is {vm.mac}"
    rules = [
        _create(
            local.name,
            "ingress priority 10",
            f"{towards} / ipv4 / udp dst is {UDP_DENIED_AT_SENDER}",
            "count / drop",
        ),
        _create(
            uplink,
            "ingress priority 10",
            f"{towards} / ipv4 / udp dst is {UDP_DENIED_INBOUND}",
            "count / drop",
        ),
        _create(
            uplink,
            "ingress priority 10",
            f"{towards} / ipv4 / udp dst is {UDP_DENIED_AT_SENDER}",
            "count / drop",
        ),
    ]
    sending = [
        _create(
            local.name,
            "ingress priority 300",
            f"{towards} / ipv4 src is {local.ip} dst is {vm.ip} / icmp",
            f"count / {to_vm}",
        ),
        _create(
            local.name, "ingress priority 300", f"{towards} / ipv4 src is {local.ip} / udp", to_vm
        ),
        _create(
            uplink,
            "ingress priority 300",
            f"{towards} / ipv4 src is {remote.ip} dst is {vm.ip} / icmp",
            f"count / {to_vm}",
        ),
    ]
    fillers = _Fillers(f"receive {vm.name} {local.name}")
    while len(sending) < count:
        pattern = f"{towards} / {fillers.match()}"
        if len(sending) % 10 == 0:
            sending.append(_create(uplink, "transfer priority 400", pattern, to_vm))
        elif len(sending) % 3 == 0:
            sending.append(_create(local.name, "ingress priority 200", pattern, to_vm))
        else:
            sending.append(_create(uplink, "ingress priority 200", pattern, f"count / {to_vm}"))
    while len(rules) < 20:
        rules.append(
            _create(uplink, "ingress priority 100", f"{towards} / {fillers.match()}", "drop")
        )
    return rules + sending
