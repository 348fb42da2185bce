# SPDX-License-Identifier: Apache-2.0
"""The demo's scenario: two hosts with a godwitd and a fixed VM each, and a VM that moves.

    host-a: stay-a, vm7        physnet1        host-b: stay-b
            godwitd  up0 ----- bridge ----- up0  godwitd

The fixed VMs ping the moving one, which pings both. Each VM sends forbidden probes from its first
instruction on, and permitted ones to show that the receivers work.
"""

import dataclasses
import time

from . import rules
from .bed import TestbedError
from .daemon import Daemon
from .fabric import Fabric, Host
from .guest import MigrationReport, Nic, Vm, VmSpec
from .process import wait_until

UPLINK = "physnet1"
MOVER = "vm7"
_PEER_PORT = 7400
# States of a move at its source in which the destination has staged everything and the VM may move.
_PREPARED_STATES = ("prepared", "sync", "syncing", "synced")
_ENDED_STATES = ("done", "aborted")


@dataclasses.dataclass(frozen=True)
class Move:
    """One move, with the figures of QEMU, the two switches and the pingers."""

    source: str
    destination: str
    qemu: MigrationReport
    source_status: dict
    destination_status: dict
    gaps_ms: dict  # "stay-a -> vm7": the longest gap around the move
    reordered: dict

    @property
    def first_packet_ms(self):
        """Returns the time from the start of the rings to the first delivered packet, or None."""
        running = self.destination_status.get("rings_running_ns") or 0
        first = self.destination_status.get("first_packet_ns") or 0
        return (first - running) / 1e6 if running and first else None


def _mac(number):
    return f"02:00:00:00:00:{number:02x}"


def _endpoint(name, number):
    return rules.Endpoint(f"{name}/net0", _mac(number), f"10.0.0.{number}")


def _probe(protocol, to, port, source_ip=None, source_mac=None):
    words = [protocol, to.ip, str(port), to.mac]
    if source_ip:
        words.append(source_ip)
    if source_mac:
        words.append(source_mac)
    return ",".join(words)


class TwoHosts:
    """The scenario. boot() starts everything; move() moves the VM to a host."""

    STAY_A, STAY_B, MOVING = _endpoint("stay-a", 1), _endpoint("stay-b", 2), _endpoint(MOVER, 7)

    def __init__(
        self,
        bed,
        godwitd,
        hugepages=True,
        transmit_count=1000,
        receive_count=1000,
        rate=100,
        probe_rate=50,
        permitted_rate=0,
    ):
        self.bed = bed
        self.fabric = Fabric(bed, ["host-a", "host-b"])
        self.moves = []
        self.forbidden_before = 0  # forbidden probes that arrived before start_count()
        self._transmit_count = transmit_count
        self._receive_count = receive_count
        self._hugepages = hugepages
        self.daemons = {}
        for index, host in enumerate(self.fabric.hosts()):
            self.daemons[host.name] = Daemon(bed, host, godwitd, self._configuration(host, index))
        self.vms = {
            spec.name: Vm(bed, spec) for spec in self._specs(rate, probe_rate, permitted_rate)
        }
        self.mover = self.vms[MOVER]

    # Setting up.

    def boot(self):
        """Starts switches and guests, and waits until all pings are answered."""
        for daemon in self.daemons.values():
            daemon.start()
        self.bed.log("switches are ready")
        for name, host in (("stay-a", "host-a"), ("stay-b", "host-b"), (MOVER, "host-a")):
            self.vms[name].start(self.fabric.host(host), [self._socket(host, name)])
        for vm in self.vms.values():
            vm.wait_for_switch()
        self.bed.log("switches have connected to the guests")
        for vm in self.vms.values():
            vm.wait_for_agent()
        self.bed.log("guests have booted")
        for vm in self.vms.values():
            vm.agent.wait_for_report(
                lambda report: all(one["received"] > 10 for one in report["targets"]),
                30,
                "no answers to pings",
            )

    def start_count(self):
        """Resets all counts while no packet is in transit.

        Keeps the number of forbidden probes so far.
        """
        self.forbidden_before = 0
        for vm in self.vms.values():
            vm.agent.command("stop")
        time.sleep(1.0)
        for vm in self.vms.values():
            self.forbidden_before += self.heard(vm.agent.report(), permitted=False)
            vm.agent.command("zero")
        for vm in self.vms.values():
            vm.agent.command("start")

    def stop_count(self, grace_s=3.0):
        """Stops pings and probes and waits for late ones. Returns the final reports by name."""
        for vm in self.vms.values():
            vm.agent.command("stop")
        time.sleep(grace_s)
        return {name: vm.agent.report() for name, vm in self.vms.items()}

    # Measuring.

    def take_gaps(self):
        """Returns the longest gap of each pinger in ms, and its count of reordered replies.

        Both cover the time since the last call.
        """
        gaps, reordered = {}, {}
        for name, vm in self.vms.items():
            for target in vm.agent.command("gaps")["targets"]:
                pinger = f"{name} -> {self._name_of(target['ip'])}"
                gaps[pinger] = max(target["gap_ms"], target["open_gap_ms"])
                reordered[pinger] = target["reordered"]
        return gaps, reordered

    @staticmethod
    def heard(report, permitted):
        return sum(one["received"] for one in report["heard"] if one["permitted"] is permitted)

    @staticmethod
    def probes_sent(report, permitted):
        return sum(one["sent"] for one in report["probes"] if one["permitted"] is permitted)

    # Moving.

    def move(self, to, settle_s=4.0):
        """Moves the mover to a host.

        Runs `migrate start` at the source's switch, then QEMU's own migration.
        """
        source = self.mover.host
        self.take_gaps()
        qemu, known = self.prepare(to)
        self.bed.log(f"{to} has staged {MOVER}'s policy; QEMU moves the VM")
        report = self.mover.migrate(qemu)
        self.bed.log(
            f"QEMU has moved it: pause {report.pause_ms:.0f} ms, {report.total_ms:.0f} ms in all"
        )
        ended = {}
        for name, daemon in self.daemons.items():
            ended[name] = wait_until(
                lambda d=daemon, n=name: self._ended(d, known[n]),
                20,
                f"the move does not end on {name}",
            )
            if ended[name]["state"] != "done":
                raise TestbedError(f"the move was aborted, says {name}: {ended[name].get('error')}")
        self.bed.log("both switches say done")
        time.sleep(settle_s)
        gaps, reordered = self.take_gaps()
        self.moves.append(
            Move(source.name, to, report, ended[source.name], ended[to], gaps, reordered)
        )
        return self.moves[-1]

    def prepare(self, to):
        """Starts the destination's QEMU and the switches' move, up to prepared.

        Returns the QEMU, and the earlier moves by host.
        """
        source, destination = self.mover.host, self.fabric.host(to)
        switch = self.daemons[source.name]
        qemu = self.mover.prepare_destination(destination, [self._socket(to, MOVER)])
        known = {name: self._identities(daemon) for name, daemon in self.daemons.items()}
        switch.rpc.call("migrate.start", vm=MOVER, peer=to)
        wait_until(lambda: self._prepared(switch, known[source.name]), 15, f"{to} does not prepare")
        return qemu, known

    def state(self, host):
        """Returns the state of the newest move at a host."""
        return self._moves(self.daemons[host])[-1]["state"]

    # Details.

    def _socket(self, host, vm):
        return self.fabric.host(host).path(f"{vm}-net0.sock")

    def _name_of(self, ip):
        return next(vm.spec.name for vm in self.vms.values() if vm.spec.ip == ip)

    @staticmethod
    def _moves(daemon):
        return [move for move in daemon.rpc.call("migrate.status")["moves"] if move["vm"] == MOVER]

    def _identities(self, daemon):
        return {(move["id"], move["role"]) for move in self._moves(daemon)}

    def _current(self, daemon, known):
        """Returns the move that did not exist before, or None."""
        for move in self._moves(daemon):
            if (move["id"], move["role"]) not in known:
                return move
        return None

    def _prepared(self, daemon, known):
        move = self._current(daemon, known)
        if move is not None and move["state"] in _ENDED_STATES:
            raise TestbedError(
                f"the move ended before it began: {move['state']}: {move.get('error')}"
            )
        return move is not None and move["state"] in _PREPARED_STATES

    def _ended(self, daemon, known):
        move = self._current(daemon, known)
        return move if move is not None and move["state"] in _ENDED_STATES else None

    def _specs(self, rate, probe_rate, permitted_rate):
        a, b, vm = self.STAY_A, self.STAY_B, self.MOVING
        common = {"rate": rate, "probe_rate": probe_rate, "permitted_rate": permitted_rate}

        def stayer(name, endpoint):
            return VmSpec(
                name,
                endpoint.ip,
                (Nic(mac=endpoint.mac),),
                ping=(vm.ip,),
                forbidden=(
                    _probe("udp", vm, rules.UDP_DENIED_AT_SENDER),
                    _probe("udp", vm, rules.UDP_DENIED_INBOUND),
                ),
                permitted=(_probe("udp", vm, rules.UDP_PERMITTED),),
                **common,
            )

        mover = VmSpec(
            MOVER,
            vm.ip,
            (Nic(mac=vm.mac),),
            ping=(a.ip, b.ip),
            forbidden=(
                _probe("udp", a, rules.UDP_DENIED),
                _probe("udp", b, rules.UDP_DENIED_BY_TRANSFER),
                _probe("tcp", b, rules.TCP_DENIED),
                _probe("udp", b, rules.UDP_PERMITTED, source_ip="10.0.0.99"),
                _probe("udp", a, rules.UDP_PERMITTED, source_ip=vm.ip, source_mac=_mac(0x99)),
            ),
            permitted=(
                _probe("udp", a, rules.UDP_PERMITTED),
                _probe("udp", b, rules.UDP_PERMITTED),
            ),
            **common,
        )
        return stayer("stay-a", a), stayer("stay-b", b), mover

    def _configuration(self, host, index):
        on_a = host.name == "host-a"
        local, remote = (self.STAY_A, self.STAY_B) if on_a else (self.STAY_B, self.STAY_A)
        rule_lines = rules.receive_rules(self.MOVING, UPLINK, local, remote, self._receive_count)
        if on_a:
            rule_lines += rules.transmit_rules(
                self.MOVING, [self.STAY_A, self.STAY_B], self._transmit_count
            )
            rule_lines += rules.inbound_rules(self.MOVING)
        rules_file = self.bed.path(host.name, "rules.flow")
        with open(rules_file, "w") as file:
            file.write("\n".join(rule_lines) + "\n")
        endpoints = []
        for endpoint in (self.STAY_A, self.STAY_B, self.MOVING):
            entry = {"name": endpoint.name, "macs": [endpoint.mac], "ips": [endpoint.ip]}
            if endpoint is local or (on_a and endpoint is self.MOVING):
                entry["vhost"] = {"socket": self._socket(host.name, endpoint.name.split("/")[0])}
            else:
                entry["location"] = f"uplink:{UPLINK}"
            endpoints.append(entry)
        return {
            "host": host.name,
            "workers": {"cpus": [index]},
            "memory": {"hugepages": self._hugepages, "socket_mb": 128},
            "uplinks": [{"name": UPLINK, "devargs": f"net_af_packet0,iface={Host.UPLINK}"}],
            "endpoints": endpoints,
            "rules_file": rules_file,
            "migration": {
                "listen": f"{host.address}:{_PEER_PORT}",
                "plaintext": "anywhere",
                "peers": {
                    other.name: f"{other.address}:{_PEER_PORT}"
                    for other in self.fabric.hosts()
                    if other is not host
                },
                "vhost_template": host.path("{vm}-{nic}.sock"),
                "uplink": UPLINK,
            },
        }
