# SPDX-License-Identifier: Apache-2.0
"""Generates rule sets from a seed, for users without ClassBench files. The sets have shapes that
stress a classifier in different ways. They do not model a real network.

    acl    access lists: long prefixes in one network for each 100 rules (16 at least), any source
           port, mostly one destination port or a range of them
    fw     firewalls: often one address is open (prefix length 0 to 2), services by destination
           port, many overlaps
    ipc    IP chains: prefix lengths from 0 to 32, a third of the rules without a protocol, ports
           on both sides
    masks  one pair of prefix lengths for each 20 rules, at random addresses: few overlaps, many
           hash tables
    nest   prefixes of all lengths around one pair of addresses: many rules overlap

The same kind, count and seed give the same set.
"""

import os
import random

from . import rulesets
from .rulesets import ANY_PORT, TCP, UDP, Filter, network

KINDS = ("acl", "fw", "ipc", "masks", "nest")
_SERVICES = (
    20,
    21,
    22,
    25,
    53,
    80,
    110,
    123,
    143,
    161,
    179,
    389,
    443,
    445,
    993,
    1521,
    1723,
    3306,
    3389,
    5060,
    5432,
    8080,
)
_HIGH = (1024, 65535)


def generate(kind, count, seed):
    """Returns `count` different filters, the first with the highest priority. Raises ValueError if
    random draws do not find so many."""
    dice = random.Random(f"{kind} {count} {seed}")
    draw = {"acl": _Acl, "fw": _Fw, "ipc": _Ipc, "masks": _Masks, "nest": _Nest}[kind](dice, count)
    chosen, tries = {}, 0
    while len(chosen) < count:
        tries += 1
        if tries > 100 * count:
            raise ValueError(
                f"kind {kind}: {len(chosen)} different rules in {tries - 1} draws, not {count}"
            )
        chosen.setdefault(draw.filter())
    filters = list(chosen)
    if kind != "masks":
        # Rules with long prefixes come first, as operators write them. Open rules in front would
        # hide the others.
        filters.sort(key=lambda one: -(one.source[1] + one.destination[1] + dice.randint(0, 8)))
    return filters


def write(directory, kind, count, seed, headers=None):
    """Writes KIND_COUNT.xz, and KIND_COUNT_trace.xz with packet headers that match its rules. The
    trace has `headers` of them, or 10 for each rule and 150,000 at most. Returns the set's name."""
    filters = generate(kind, count, seed)
    name = f"{kind}_{count}"
    os.makedirs(directory, exist_ok=True)
    with rulesets.open_text(os.path.join(directory, name + ".xz"), "wt") as file:
        file.writelines(one.line() + "\n" for one in filters)
    dice = random.Random(f"trace {kind} {count} {seed}")
    wanted = headers or min(10 * count, 150_000)
    with rulesets.open_text(os.path.join(directory, name + "_trace.xz"), "wt") as file:
        for _ in range(wanted):
            number = dice.randrange(count)
            header = rulesets.random_header(filters[number], dice)
            file.write("\t".join(str(value) for value in (*header, 0, number)) + "\n")
    return name


class _Shape:
    """Draws the parts of a filter. A subclass draws whole filters with filter(). `dice` is the
    random generator."""

    def __init__(self, dice, count):
        self.dice = dice
        self.networks = [network(dice.getrandbits(32), 16) for _ in range(max(16, count // 100))]

    def prefix(self, lengths, weights):
        """Returns a prefix in one of the networks, with one of the lengths by their weights."""
        length = self.dice.choices(lengths, weights)[0]
        return network(self.dice.choice(self.networks) | self.dice.getrandbits(16), length), length

    def protocol(self, tcp, udp, wild):
        """Returns a protocol, or None for any. The arguments are weights. ICMP has the weight 2 and
        GRE 1."""
        return self.dice.choices((TCP, UDP, None, 1, 47), (tcp, udp, wild, 2, 1))[0]

    def ports(self, protocol, one, span):
        """Returns (from, to): one port in `one` of 100 cases, a range in `span` of them, and
        otherwise any port."""
        if protocol not in (TCP, UDP):
            return ANY_PORT
        roll = self.dice.randrange(100)
        if roll < one:
            port = (
                self.dice.choice(_SERVICES)
                if self.dice.random() < 0.5
                else self.dice.randrange(1024, 65536)
            )
            return port, port
        if roll < one + span:
            low = self.dice.randrange(1024, 60000)
            return _HIGH if self.dice.random() < 0.5 else (low, low + self.dice.randrange(1, 500))
        return ANY_PORT


class _Acl(_Shape):
    def filter(self):
        protocol = self.protocol(80, 5, 10)
        return Filter(
            self.prefix((32, 31, 30, 29, 24, 23, 22), (50, 24, 5, 3, 6, 7, 5)),
            self.prefix((32, 31, 30, 24, 23, 22, 21), (48, 20, 6, 5, 7, 10, 4)),
            ANY_PORT,
            self.ports(protocol, 65, 12),
            protocol,
        )


class _Fw(_Shape):
    def filter(self):
        protocol = self.protocol(55, 33, 2)
        wide = self.prefix((0, 1, 2, 28, 30, 31, 32), (42, 15, 4, 4, 5, 10, 20))
        narrow = self.prefix((32, 31, 30, 28, 24, 16, 0), (45, 25, 8, 6, 6, 6, 4))
        source, destination = (wide, narrow) if self.dice.random() < 0.7 else (narrow, wide)
        return Filter(
            source, destination, self.ports(protocol, 15, 9), self.ports(protocol, 58, 9), protocol
        )


class _Ipc(_Shape):
    def filter(self):
        protocol = self.protocol(28, 38, 32)
        lengths = (32, 31, 25, 24, 23, 20, 17, 16, 8, 2, 1, 0)
        return Filter(
            self.prefix(lengths, (18, 9, 10, 16, 12, 6, 5, 6, 2, 2, 4, 8)),
            self.prefix(lengths, (25, 11, 8, 12, 8, 6, 4, 6, 2, 2, 2, 6)),
            self.ports(protocol, 20, 6),
            self.ports(protocol, 50, 12),
            protocol,
        )


def _exact_or_any(dice):
    """Returns (from, to) of one port or of any port, each in half of the cases."""
    port = dice.choice(_SERVICES) if dice.random() < 0.3 else dice.randrange(1024, 65536)
    return dice.choice(((port, port), ANY_PORT))


class _Masks(_Shape):
    def __init__(self, dice, count):
        super().__init__(dice, count)
        self.shapes = [
            (dice.randint(8, 32), dice.randint(8, 32)) for _ in range(max(4, count // 20))
        ]

    def filter(self):
        (source, destination), dice = self.dice.choice(self.shapes), self.dice
        return Filter(
            (network(dice.getrandbits(32), source), source),
            (network(dice.getrandbits(32), destination), destination),
            _exact_or_any(dice),
            _exact_or_any(dice),
            dice.choice((TCP, UDP, None)),
        )


class _Nest(_Shape):
    def __init__(self, dice, count):
        super().__init__(dice, count)
        self.center = dice.getrandbits(32), dice.getrandbits(32)

    def filter(self):
        dice = self.dice
        source, destination = dice.randint(0, 32), dice.randint(0, 32)
        return Filter(
            (network(self.center[0], source), source),
            (network(self.center[1], destination), destination),
            _exact_or_any(dice),
            _exact_or_any(dice),
            dice.choice((TCP, UDP, None)),
        )
