# SPDX-License-Identifier: Apache-2.0
"""Lines of the `flow` grammar: random ones by seed, valid or broken, and every form of a field."""
import random

# testpmd truncates a longer line.
LONGEST_LINE = 480

MAC, IPV4, IPV6 = "mac", "ipv4", "ipv6"
# Item -> field -> number of bits, or a kind of address. PORT_ITEMS has the fields of ports, which
# match only as a whole.
ITEMS = {
    "void": {},
    "eth": {"dst": MAC, "src": MAC, "type": 16, "has_vlan": 1},
    "vlan": {"tci": 16, "pcp": 3, "dei": 1, "vid": 12, "inner_type": 16, "has_more_vlan": 1},
    "arp_eth_ipv4": {"sha": MAC, "spa": IPV4, "tha": MAC, "tpa": IPV4},
    "ipv4": {"tos": 8, "ttl": 8, "proto": 8, "src": IPV4, "dst": IPV4, "fragment_offset": 16},
    "ipv6": {
        "tc": 8,
        "flow": 20,
        "proto": 8,
        "hop": 8,
        "src": IPV6,
        "dst": IPV6,
        "has_frag_ext": 1,
    },
    "ipv6_ext": {},
    "ipv6_frag_ext": {"frag_data": 16},
    "tcp": {"src": 16, "dst": 16, "flags": 8},
    "udp": {"src": 16, "dst": 16},
    "sctp": {"src": 16, "dst": 16},
    "icmp": {"type": 8, "code": 8, "ident": 16, "seq": 16},
    "icmp6": {"type": 8, "code": 8},
    "vxlan": {"vni": 24},
    "mark": {"id": 32},
}
PORT_ITEMS = {
    "represented_port": ("ethdev_port_id", 16),
    "port_representor": ("port_id", 16),
    "port_id": ("id", 32),
}
ACTIONS = {
    "void": None,
    "passthru": None,
    "drop": None,
    "mac_swap": None,
    "dec_ttl": None,
    "of_pop_vlan": None,
    "jump": ("group", 32),
    "mark": ("id", 32),
    "count": ("identifier", 32),
    "port_id": ("id", 32),
    "represented_port": ("ethdev_port_id", 16),
    "port_representor": ("port_id", 16),
    "of_push_vlan": ("ethertype", 16),
    "of_set_vlan_vid": ("vlan_vid", 16),
    "of_set_vlan_pcp": ("vlan_pcp", 8),
    "set_mac_src": ("mac_addr", MAC),
    "set_mac_dst": ("mac_addr", MAC),
    "set_ipv4_src": ("ipv4_addr", IPV4),
    "set_ipv4_dst": ("ipv4_addr", IPV4),
    "set_ipv6_src": ("ipv6_addr", IPV6),
    "set_ipv6_dst": ("ipv6_addr", IPV6),
    "set_tp_src": ("port", 16),
    "set_tp_dst": ("port", 16),
    "set_ttl": ("ttl_value", 8),
}
BITS = {MAC: 48, IPV4: 32, IPV6: 128}

HEAD, TAIL = "flow validate 0 ingress pattern ", " / end actions drop / end"


class Lines:
    """Random `flow validate` lines that Godwit and testpmd should both accept."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def number(self, bits):
        value = self.random.choice([0, 1, (1 << bits) - 1, self.random.getrandbits(bits)])
        return self.random.choice(
            [str, str, hex, lambda v: "0X%x" % v, lambda v: "0%o" % v, lambda v: "+%d" % v]
        )(value)

    def value(self, kind):
        pick = self.random
        if kind == MAC:
            digits = "%012x" % pick.getrandbits(48)
            step = pick.choice([2, 2, 2, 4])
            text = ":".join(digits[i : i + step] for i in range(0, 12, step))
            return pick.choice([str.lower, str.upper])(text)
        if kind == IPV4:
            if pick.random() < 0.1:
                return self.number(32)
            return ".".join(str(pick.choice([0, 10, 255, pick.randrange(256)])) for _ in range(4))
        if kind == IPV6:
            return pick.choice(
                [
                    "::",
                    "::1",
                    "fd00::1",
                    "FE80::a:B",
                    "ffff:ffff::",
                    "::ffff:10.0.0.1",
                    ":".join("%x" % pick.getrandbits(16) for _ in range(8)),
                ]
            )
        return self.number(kind)

    def field(self, name, kind):
        parts, width = [], BITS.get(kind, kind)
        for _ in range(self.random.choice([1, 1, 1, 2])):
            parts += self.random.choice(
                [
                    lambda: [f"{name} is {self.value(kind)}"],
                    lambda: [f"{name} spec {self.value(kind)}"],
                    lambda: [f"{name} spec {self.value(kind)}", f"{name} mask {self.value(kind)}"],
                    lambda: [
                        f"{name} spec {self.value(kind)}",
                        f"{name} prefix {self.random.randrange(width + 1)}",
                    ],
                    lambda: [f"{name} is {self.value(kind)}", f"{name} last {self.value(kind)}"],
                    lambda: [
                        f"{name} mask {self.value(kind)}",
                        f"{name} last {self.value(kind)}",
                        f"{name} spec {self.value(kind)}",
                    ],
                ]
            )()
        return parts

    def item(self):
        if self.random.random() < 0.15:
            name = self.random.choice(list(PORT_ITEMS))
            field, bits = PORT_ITEMS[name]
            return self.random.choice(
                [
                    name,
                    f"{name} {field} is {self.number(bits)}",
                    f"{name} {field} spec {self.number(bits)}",
                    f"{name} {field} spec 7 {field} prefix {bits}",
                    f"{name} {field} is 3 {field} mask 0",
                ]
            )
        name = self.random.choice(list(ITEMS))
        fields = [f for f in ITEMS[name] if self.random.random() < 0.4]
        self.random.shuffle(fields)
        return " ".join([name] + [part for f in fields for part in self.field(f, ITEMS[name][f])])

    def action(self):
        name = self.random.choice(list(ACTIONS))
        if ACTIONS[name] is None or self.random.random() < 0.1:
            return name
        argument, kind = ACTIONS[name]
        return " ".join(
            [name]
            + [f"{argument} {self.value(kind)}" for _ in range(self.random.choice([1, 1, 1, 2]))]
        )

    def line(self):
        while True:
            words = ["flow validate 0"]
            attributes = [
                self.random.choice(["ingress", "egress", "transfer"])
            ] * self.random.choice([1, 1, 1, 2])
            attributes += [
                f"{name} {self.number(32)}"
                for name in ("group", "priority")
                for _ in range(self.random.choice([0, 0, 1, 2]))
            ]
            self.random.shuffle(attributes)
            words += attributes + ["pattern"]
            words += [self.item() + " /" for _ in range(self.random.randrange(4))] + ["end actions"]
            words += [self.action() + " /" for _ in range(self.random.randrange(4))] + ["end"]
            line = self.random.choice([" ", " ", "  "]).join(words) + self.random.choice(
                ["", "", " ", "  # remark"]
            )
            if len(line) <= LONGEST_LINE // 2:
                return line

    VOCABULARY = (
        "/ end actions pattern ingress egress transfer group priority is spec last mask prefix 0 1 "
        "17 33 129 256 4096 65536 "
        "4294967296 0x 08 -1 eth vlan ipv4 ipv6 tcp udp src dst type vid drop count mark id jump "
        "port_id flow validate "
        "10.0.0.1 fd00::1 02:00:00:00:00:01 , # any rss"
    ).split()

    def broken(self):
        """Returns a line in which one or two words are lost, doubled, swapped, cut or replaced."""
        words = self.line().split()
        for _ in range(self.random.choice([1, 1, 2])):
            at = self.random.randrange(3, len(words))
            how = self.random.randrange(6)
            if how == 0:
                del words[at]
            elif how == 1:
                words.insert(at, words[at])
            elif how == 2:
                words[at] = self.random.choice(self.VOCABULARY)
            elif how == 3:
                words.insert(at, self.random.choice(self.VOCABULARY))
            elif how == 4:
                words[at] = words[at][:-1] or "/"
            else:
                words = words[: at + 1]
        return " ".join(words)


def every_form(source):
    """Yields each field with each form of match, and each action with and without its argument.

    `source` is the Lines object that provides the values.
    """
    for item, fields in ITEMS.items():
        for field, kind in fields.items():
            one, two, three = (source.value(kind) for _ in range(3))
            for form in (
                "is {0}",
                "spec {0}",
                "spec {0} {f} mask {2}",
                "spec {0} {f} prefix 1",
                "is {0} {f} last {1}",
                "spec {0} {f} last {1}",
                "is {0} {f} spec {1}",
                "is {0} {f} mask {2}",
            ):
                yield HEAD + f"{item} {field} " + form.format(one, two, three, f=field) + TAIL
    for item, (field, _) in PORT_ITEMS.items():
        for form in ("is 3", "spec 3", "spec 3 {f} prefix 0", "is 3 {f} is 0x10"):
            yield HEAD + f"{item} {field} " + form.format(f=field) + TAIL
    for action, argument in ACTIONS.items():
        yield HEAD + f"eth / end actions {action} / end"
        if argument is not None:
            value = source.value(argument[1])
            yield HEAD + f"eth / end actions {action} {argument[0]} {value} / end"
