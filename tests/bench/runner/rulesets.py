# SPDX-License-Identifier: Apache-2.0
"""Reads rule sets and header traces in ClassBench's filter format, and translates them for each
switch.

    @SRC/LEN  DST/LEN  SPORT_LO : SPORT_HI  DPORT_LO : DPORT_HI  PROTO/MASK  [TCPFLAGS/MASK]

The first line has the highest priority. TCP flags are ignored. A trace has one header a line:
source and destination in decimal, source port, destination port, protocol; further columns are
ignored. Files that end in .xz are compressed.

All rules for switches forward, because only the search for a rule is measured. A filter with ports
and without protocol becomes two rules, one for TCP and one for UDP.
"""

import dataclasses
import lzma
import os
import random

ANY_PORT = (0, 65535)
TCP, UDP = 6, 17


@dataclasses.dataclass(frozen=True)
class Filter:
    source: tuple  # (address, prefix length)
    destination: tuple
    source_ports: tuple  # (from, to)
    destination_ports: tuple
    protocol: int  # None stands for any.

    def line(self):
        def prefix(value):
            return f"{dotted(value[0])}/{value[1]}"

        protocol = "0x00/0x00" if self.protocol is None else f"0x{self.protocol:02x}/0xFF"
        return (
            f"@{prefix(self.source)}\t{prefix(self.destination)}\t"
            f"{self.source_ports[0]} : {self.source_ports[1]}\t"
            f"{self.destination_ports[0]} : {self.destination_ports[1]}\t{protocol}\t0x0000/0x0000"
        )


def dotted(address):
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def network(address, length):
    return address & (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF


def open_text(path, mode="rt"):
    return (
        lzma.open(path, mode, preset=1 if "w" in mode else None)
        if str(path).endswith(".xz")
        else open(path, mode)
    )


def find(directory, name):
    """Returns the file of the set, compressed or not, or None if there is none."""
    for path in (os.path.join(directory, name + ".xz"), os.path.join(directory, name)):
        if os.path.isfile(path):
            return path
    return None


def read_filters(path):
    filters = []
    with open_text(path) as file:
        for line in file:
            if line.startswith("@"):
                filters.append(parse_filter(line))
    return filters


def parse_filter(line):
    words = line[1:].replace(":", " ").split()

    def prefix(text):
        address, length = text.split("/")
        value = 0
        for octet in address.split("."):
            value = value << 8 | int(octet)
        return network(value, int(length)), int(length)

    protocol, mask = (int(word, 16) for word in words[6].split("/"))
    return Filter(
        prefix(words[0]),
        prefix(words[1]),
        (int(words[2]), int(words[3])),
        (int(words[4]), int(words[5])),
        protocol if mask else None,
    )


def read_trace(path, most=None):
    """Returns [(source, destination, source port, destination port, protocol)]."""
    headers = []
    with open_text(path) as file:
        for line in file:
            words = line.split()
            if len(words) >= 5:
                headers.append(tuple(int(word) for word in words[:5]))
                if most is not None and len(headers) >= most:
                    break
    return headers


def random_header(one, dice):
    """Returns a header that the filter matches."""

    def inside(prefix):
        return prefix[0] | dice.getrandbits(32 - prefix[1]) if prefix[1] < 32 else prefix[0]

    protocol = dice.choice((TCP, UDP)) if one.protocol is None else one.protocol
    return (
        inside(one.source),
        inside(one.destination),
        dice.randint(*one.source_ports),
        dice.randint(*one.destination_ports),
        protocol,
    )


def flows(filters, trace, count, seed=1):
    """Returns `count` different headers: those of the trace, then random ones inside random
    filters. Returns fewer if the filters do not have as many."""
    dice = random.Random(seed)
    found = dict.fromkeys(trace)
    chosen = list(found)[:count]
    seen, tries = set(chosen), 0
    while len(chosen) < count and tries < 20 * count:
        tries += 1
        header = random_header(dice.choice(filters), dice)
        if header not in seen:
            seen.add(header)
            chosen.append(header)
    return chosen


# Rules in the formats of the switches.


def _protocols(one):
    ported = one.source_ports != ANY_PORT or one.destination_ports != ANY_PORT
    if one.protocol is None and ported:
        return (TCP, UDP)
    return (one.protocol,)


def godwit_rules(filters, owner, to):
    """Returns lines for a rules_file: the filters as ingress rules of `owner` that send to `to`,
    and a rule that sends everything else."""
    lines = []
    for priority, one in enumerate(filters):
        for protocol in _protocols(one):
            pattern = _godwit_pattern(one, protocol)
            lines.append(
                f"flow create {owner} ingress priority {priority} pattern {pattern} / end "
                f"actions represented_port ethdev_port_id {to} / end"
            )
    lines.append(
        f"flow create {owner} ingress priority {len(filters)} pattern eth / end "
        f"actions represented_port ethdev_port_id {to} / end"
    )
    return lines


def _godwit_pattern(one, protocol):
    ipv4 = ["ipv4"]
    for side, (address, length) in (("src", one.source), ("dst", one.destination)):
        if length:
            ipv4.append(f"{side} spec {dotted(address)} {side} prefix {length}")
    layer4 = {TCP: "tcp", UDP: "udp"}.get(protocol)
    if protocol is not None and layer4 is None:
        ipv4.append(f"proto is {protocol}")
    pattern = "eth / " + " ".join(ipv4)
    if layer4 is not None:
        pattern += f" / {layer4}"
        for side, (low, high) in (("src", one.source_ports), ("dst", one.destination_ports)):
            if low == high:
                pattern += f" {side} is {low}"
            elif (low, high) != ANY_PORT:
                pattern += f" {side} spec {low} {side} last {high} {side} mask 0xffff"
    return pattern


def port_prefixes(low, high):
    """Returns a range of ports as the fewest (value, mask) pairs."""
    pairs = []
    while low <= high:
        size = low & -low or 1 << 16
        while low + size - 1 > high:
            size >>= 1
        pairs.append((low, 0xFFFF & ~(size - 1)))
        low += size
    return pairs


def ovs_flows(filters, in_port, out_port):
    """Returns lines for `ovs-ofctl add-flows`. OpenFlow has no ranges, so they become prefixes.
    OpenFlow has 65,536 priorities, so neighbors share one if there are more filters."""
    lines = []
    for number, one in enumerate(filters):
        priority = 65535 - number * 65000 // max(len(filters), 65000)
        for protocol in _protocols(one):
            match = {TCP: "tcp", UDP: "udp"}.get(protocol) or (
                "ip" if protocol is None else f"ip,nw_proto={protocol}"
            )
            for field, (address, length) in (("nw_src", one.source), ("nw_dst", one.destination)):
                if length:
                    match += f",{field}={dotted(address)}/{length}"
            ports = [""]
            if protocol in (TCP, UDP):
                for field, span in (
                    ("tp_src", one.source_ports),
                    ("tp_dst", one.destination_ports),
                ):
                    if span != ANY_PORT:
                        ports = [
                            f"{p},{field}=0x{v:x}/0x{m:x}"
                            for p in ports
                            for v, m in port_prefixes(*span)
                        ]
            lines += [
                f"priority={priority},in_port={in_port},{match}{more},actions=output:{out_port}"
                for more in ports
            ]
    lines.append(f"priority=0,in_port={in_port},actions=output:{out_port}")
    return lines


def acl_rule_lines(filters):
    """Returns lines for dpdk-test-acl --rulesf: ClassBench's own format, with priorities by
    position."""
    return [one.line() for one in filters]


def acl_trace_lines(headers):
    """Returns lines for dpdk-test-acl --tracef: addresses, ports and protocol."""
    return [" ".join(str(value) for value in header) for header in headers]
