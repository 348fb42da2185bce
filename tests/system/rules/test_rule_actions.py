# SPDX-License-Identifier: Apache-2.0
"""Every action produces, byte for byte, the frame that scapy builds with the changed fields.

This includes checksums.
"""
import pytest
from scapy_frames import (
    ARP4,
    DOUBLE,
    ETH,
    ICMP4,
    ICMP6,
    IP,
    IP4,
    IP6,
    LOAD,
    OTHER,
    SCTP4,
    TAGGED,
    TCP,
    TCP4,
    TCP6,
    UDP,
    UDP4,
    UDP6,
    VM1,
    VM2,
    VXLAN4,
    Dot1AD,
    Dot1Q,
    Ether,
    IPv6,
    IPv6ExtHdrHopByHop,
    Raw,
    change,
    fragment,
    fragment6,
)
from front_end_guests import mac, network

GUESTS = {"vm1": {}, "vm2": {}, "vm3": {"endpoint": {"miss": "drop"}}}
TO2 = " / represented_port ethdev_port_id vm2/net0"
IP4_TAG = IP4 / UDP(sport=1000, dport=2000) / Raw(LOAD)
NO_SUM = change(UDP4, (UDP, {"chksum": 0}))
OPTIONS = (
    ETH
    / IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x07\x07\x04\x00\x00\x00\x00\x00")
    / UDP(sport=1000, dport=2000)
    / Raw(LOAD)
)
EXTENDED6 = ETH / IP6 / IPv6ExtHdrHopByHop() / TCP(sport=1000, dport=2000) / Raw(LOAD)
NEW4, NEW6, NEWMAC = "192.168.255.1", "fd00:1:2:3::ffff", "02:12:34:56:78:9a"

# (actions, frame, resulting frame)
REWRITES = [
    ("void", UDP4, UDP4),
    ("mark id 5", UDP4, UDP4),
    ("count", UDP4, UDP4),
    ("of_pop_vlan", TAGGED, ETH / IP4_TAG),
    ("of_pop_vlan", DOUBLE, ETH / Dot1Q(vlan=6) / IP4_TAG),
    ("of_pop_vlan / of_pop_vlan", DOUBLE, ETH / IP4_TAG),
    ("of_push_vlan ethertype 0x8100", UDP4, ETH / Dot1Q(vlan=0) / IP4_TAG),
    (
        "of_push_vlan ethertype 0x88a8 / of_set_vlan_vid vlan_vid 100 / of_set_vlan_pcp vlan_pcp 6",
        TAGGED,
        ETH / Dot1AD(vlan=100, prio=6) / Dot1Q(vlan=5, prio=3) / IP4_TAG,
    ),
    ("of_set_vlan_vid vlan_vid 4094", TAGGED, change(TAGGED, (Dot1Q, {"vlan": 4094}))),
    ("of_set_vlan_pcp vlan_pcp 7", TAGGED, change(TAGGED, (Dot1Q, {"prio": 7}))),
    (
        "of_pop_vlan / of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 9",
        TAGGED,
        ETH / Dot1Q(vlan=9) / IP4_TAG,
    ),
    (f"set_mac_src mac_addr {NEWMAC}", UDP4, change(UDP4, (Ether, {"src": NEWMAC}))),
    (f"set_mac_dst mac_addr {NEWMAC}", UDP4, change(UDP4, (Ether, {"dst": NEWMAC}))),
    ("mac_swap", UDP4, change(UDP4, (Ether, {"src": VM2, "dst": VM1}))),
    *[
        (f"set_ipv4_src ipv4_addr {NEW4}", f, change(f, (IP, {"src": NEW4})))
        for f in (UDP4, TCP4, ICMP4, SCTP4, NO_SUM, OPTIONS, TAGGED, DOUBLE)
    ],
    *[
        (f"set_ipv4_dst ipv4_addr {NEW4}", f, change(f, (IP, {"dst": NEW4})))
        for f in (UDP4, TCP4, ICMP4, VXLAN4)
    ],
    *[
        (f"set_ipv6_src ipv6_addr {NEW6}", f, change(f, (IPv6, {"src": NEW6})))
        for f in (UDP6, TCP6, ICMP6, EXTENDED6)
    ],
    *[
        (f"set_ipv6_dst ipv6_addr {NEW6}", f, change(f, (IPv6, {"dst": NEW6})))
        for f in (UDP6, TCP6, ICMP6)
    ],
    *[
        ("set_tp_src port 65535", f, change(f, (UDP, {"sport": 65535})))
        for f in (UDP4, UDP6, NO_SUM)
    ],
    *[("set_tp_dst port 0", f, change(f, (TCP, {"dport": 0}))) for f in (TCP4, TCP6, EXTENDED6)],
    *[("set_ttl ttl_value 1", f, change(f, (IP, {"ttl": 1}))) for f in (UDP4, TCP4, OPTIONS)],
    ("set_ttl ttl_value 255", UDP6, change(UDP6, (IPv6, {"hlim": 255}))),
    ("dec_ttl", TCP4, change(TCP4, (IP, {"ttl": 63}))),
    ("dec_ttl / dec_ttl", TCP6, change(TCP6, (IPv6, {"hlim": 62}))),
    ("dec_ttl", change(UDP4, (IP, {"ttl": 2})), change(UDP4, (IP, {"ttl": 1}))),
    (
        f"set_ipv4_src ipv4_addr {NEW4} / set_ipv4_dst ipv4_addr 1.2.3.4 / set_tp_src port 1 "
        f"/ set_tp_dst port 2 / dec_ttl / set_mac_src mac_addr {NEWMAC}",
        TCP4,
        change(
            TCP4,
            (IP, {"src": NEW4, "dst": "1.2.3.4", "ttl": 63}),
            (TCP, {"sport": 1, "dport": 2}),
            (Ether, {"src": NEWMAC}),
        ),
    ),
    (
        "of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 3 "
        f"/ set_ipv6_src ipv6_addr {NEW6} / set_tp_dst port 9",
        UDP6,
        ETH / Dot1Q(vlan=3) / change(UDP6, (IPv6, {"src": NEW6}), (UDP, {"dport": 9})).payload,
    ),
]
# (actions, frame, the drop's name)
REFUSED = [
    ("drop", UDP4, "rule_drop"),
    ("dec_ttl", change(UDP4, (IP, {"ttl": 1})), "ttl_exceeded"),
    ("dec_ttl", change(UDP6, (IPv6, {"hlim": 0})), "ttl_exceeded"),
    *[
        (action, OTHER, "rewrite_impossible")
        for action in (
            "of_pop_vlan",
            "of_set_vlan_vid vlan_vid 1",
            "of_set_vlan_pcp vlan_pcp 1",
            f"set_ipv4_src ipv4_addr {NEW4}",
            f"set_ipv6_dst ipv6_addr {NEW6}",
            "set_tp_src port 1",
            "set_ttl ttl_value 3",
            "dec_ttl",
        )
    ],
    (f"set_ipv4_dst ipv4_addr {NEW4}", UDP6, "rewrite_impossible"),
    (f"set_ipv6_src ipv6_addr {NEW6}", UDP4, "rewrite_impossible"),
    ("set_tp_dst port 5", ICMP4, "rewrite_impossible"),
    (f"set_ipv4_src ipv4_addr {NEW4}", ARP4, "rewrite_impossible"),
]


@pytest.fixture(scope="module")
def net(godwitd):
    with network(godwitd, GUESTS) as made:
        made.mark("vm1", ("vm2", "vm3"))
        made.mark("vm3", ("vm2",))
        yield made


@pytest.mark.parametrize(
    "actions,frame,expected", REWRITES, ids=[f"{i}-{row[0]}" for i, row in enumerate(REWRITES)]
)
def test_rewrite_yields_the_frame_of_scapy(net, actions, frame, expected):
    before = net.drops()
    with net.rules(f"vm1/net0 ingress priority 5 pattern eth / end actions {actions}{TO2} / end"):
        got = net.exchange("vm1", [frame])
    assert [f.hex() for f in got] == [bytes(expected).hex()]
    assert net.dropped_since(before) == {}


def sums_partially(frame):
    """The front-end makes partial checksums of TCP and UDP directly after the IP header."""
    return (
        (TCP in frame or UDP in frame) and frame is not NO_SUM and IPv6ExtHdrHopByHop not in frame
    )


PARTIAL = [row for row in REWRITES if sums_partially(row[1])]


@pytest.mark.parametrize(
    "actions,frame,expected", PARTIAL, ids=[f"{i}-{row[0]}" for i, row in enumerate(PARTIAL)]
)
def test_rewrite_of_partial_checksum_yields_the_same_frame(net, actions, frame, expected):
    with net.rules(f"vm1/net0 ingress priority 5 pattern eth / end actions {actions}{TO2} / end"):
        assert net.vms.send("vm1", bytes(frame), csum="partial") == 1
        assert [f.hex() for f in net.exchange("vm1", [])] == [bytes(expected).hex()]


@pytest.mark.parametrize(
    "actions,frame,reason", REFUSED, ids=[f"{i}-{row[0]}-{row[2]}" for i, row in enumerate(REFUSED)]
)
def test_action_that_cannot_apply_is_a_named_drop(net, actions, frame, reason):
    before, port = net.drops(), net.port("vm1/net0")["drops"]
    end = "" if actions == "drop" else TO2
    with net.rules(f"vm1/net0 ingress priority 5 pattern eth / end actions {actions}{end} / end"):
        assert net.exchange("vm1", [frame]) == []
    assert net.dropped_since(before) == {reason: 1}
    assert net.port("vm1/net0")["drops"].get(reason, 0) == port.get(reason, 0) + 1


@pytest.mark.parametrize(
    "action", ["port_id id", "represented_port ethdev_port_id", "port_representor port_id"]
)
def test_output_by_name_or_number_sends_to_its_endpoint(net, action):
    number = net.port("vm3/net0")["port"]
    for name in ("vm3/net0", number):
        with net.rules(
            f"vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions {action} {name} / end"
        ):
            got = net.exchange_all("vm1", [UDP4])
            assert ([f.data for f in got["vm2"]], [f.data for f in got["vm3"]]) == (
                [],
                [bytes(UDP4)],
            )


def test_several_outputs_each_get_the_frame_of_their_step(net):
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / end "
        "actions represented_port ethdev_port_id vm3/net0 / "
        f"set_ipv4_dst ipv4_addr {NEW4} / dec_ttl{TO2} / end"
    ):
        got = net.exchange_all("vm1", [UDP4])
        assert [f.data for f in got["vm3"]] == [bytes(UDP4)]
        assert [f.data for f in got["vm2"]] == [bytes(change(UDP4, (IP, {"dst": NEW4, "ttl": 63})))]


def test_passthru_and_rules_without_fate_continue_with_next_rule(net):
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions set_ttl ttl_value 9 "
        "/ passthru / end",
        "vm1/net0 ingress priority 6 pattern eth / ipv4 ttl is 9 / end "
        f"actions set_ipv4_dst ipv4_addr {NEW4} / end",
        f"vm1/net0 ingress priority 7 pattern eth / ipv4 dst is {NEW4} / end "
        "actions set_tp_dst port 5 / represented_port ethdev_port_id vm2/net0 / end",
    ):
        assert net.exchange("vm1", [UDP4]) == [
            bytes(change(UDP4, (IP, {"ttl": 9, "dst": NEW4}), (UDP, {"dport": 5})))
        ]


def test_jump_continues_in_group_and_never_returns(net):
    before = net.drops()
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions set_ttl ttl_value 9 "
        "/ jump group 3 / end",
        "vm1/net0 ingress priority 6 pattern eth / ipv4 / end actions drop / end",
        "vm1/net0 group 3 priority 9 ingress pattern eth / ipv4 ttl is 9 / udp / end "
        f"actions set_tp_dst port 5{TO2} / end",
        "vm1/net0 group 3 priority 4 ingress pattern eth / ipv4 / tcp / end actions jump group 4 "
        "/ end",
        "vm1/net0 group 4 ingress pattern eth / ipv4 / tcp dst is 2000 / end actions drop / end",
    ):
        out = change(UDP4, (IP, {"ttl": 9}), (UDP, {"dport": 5}))
        left = change(
            ICMP4, (IP, {"ttl": 9})
        )  # group 3 has no rule, so the miss policy applies, and not group 0's drop
        assert net.exchange("vm1", [UDP4, TCP4, ICMP4]) == [bytes(out), bytes(left)]
    assert net.dropped_since(before) == {"rule_drop": 1}


def test_hits_over_limit_are_a_named_drop(net):
    before = net.drops()
    chain = [
        f"vm1/net0 group {g} ingress pattern eth / ipv4 / end actions jump group {g + 1} / end"
        for g in range(1, 80)
    ]
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions jump group 1 / end", *chain
    ):
        assert net.exchange("vm1", [UDP4]) == []
    assert net.dropped_since(before) == {"group_loop": 1}


def test_count_counts_packets_and_bytes(net):
    frames = [UDP4] * 40 + [UDP4 / Raw(bytes(900))] * 2
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions count / drop / end"
    ) as (rule,):
        assert net.exchange("vm1", frames + [OTHER]) == [bytes(OTHER)]
        assert net.hits(rule) == (42, sum(len(bytes(f)) for f in frames))


def test_fragments_of_rewritten_datagram_reassemble(net):
    whole = ETH / IP4 / UDP(sport=1000, dport=2000) / Raw(bytes(range(256)) * 5)
    parts = [Ether(bytes(part)) for part in fragment(whole, fragsize=400)]
    assert len(parts) == 4
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / end "
        f"actions set_ipv4_dst ipv4_addr {NEW4} / dec_ttl{TO2} / end"
    ):
        got = [Ether(frame) for frame in net.exchange("vm1", parts)]
    payload = b"".join(bytes(part[IP].payload) for part in got)
    expected = change(whole, (IP, {"dst": NEW4}))
    assert payload == bytes(Ether(bytes(expected))[IP].payload)
    for part, sent in zip(got, parts, strict=True):
        assert bytes(part)[14:34] == bytes(change_header(sent))[14:34]


def change_header(sent):
    part = sent.copy()
    part[IP].dst, part[IP].ttl = NEW4, sent[IP].ttl - 1
    del part[IP].chksum
    return part


def test_port_rewrite_applies_only_to_first_fragment(net):
    whole = ETH / IP4 / UDP(sport=1000, dport=2000) / Raw(bytes(800))
    parts = [Ether(bytes(part)) for part in fragment(whole, fragsize=400)]
    before = net.drops()
    with net.rules(
        f"vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions set_tp_dst port 7{TO2} / end"
    ):
        got = net.exchange("vm1", parts)
    assert [frame[36:38] for frame in got] == [b"\0\7"]
    assert net.dropped_since(before) == {"rewrite_impossible": len(parts) - 1}


def test_ipv6_fragments_of_rewritten_datagram_reassemble(net):
    from scapy.layers.inet6 import IPv6ExtHdrFragment

    whole = IP6 / IPv6ExtHdrFragment() / UDP(sport=1000, dport=2000) / Raw(bytes(range(256)) * 5)
    parts = [ETH / part for part in fragment6(whole, 600)]
    assert len(parts) > 2
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv6 / end "
        f"actions set_ipv6_dst ipv6_addr {NEW6}{TO2} / end"
    ):
        got = net.exchange("vm1", parts)
    assert len(got) == len(parts)
    expected = (
        IPv6(src="fd00::1", dst=NEW6) / UDP(sport=1000, dport=2000) / Raw(bytes(range(256)) * 5)
    )
    assert b"".join(frame[62:] for frame in got) == bytes(expected)[40:]


class TestOrder:
    def test_lowest_priority_number_wins_in_any_order_of_creation(self, net):
        with net.rules(
            "vm1/net0 ingress priority 9 pattern eth / end actions drop / end",
            "vm1/net0 ingress priority 7 pattern eth / ipv4 / udp / end "
            f"actions set_ttl ttl_value 7{TO2} / end",
            "vm1/net0 ingress priority 8 pattern eth / ipv4 / end "
            f"actions set_ttl ttl_value 8{TO2} / end",
        ):
            assert net.exchange("vm1", [OTHER, UDP4, TCP4]) == [
                bytes(change(UDP4, (IP, {"ttl": 7}))),
                bytes(change(TCP4, (IP, {"ttl": 8}))),
            ]

    def test_equal_priorities_older_rule_wins(self, net):
        with net.rules(
            "vm1/net0 ingress priority 7 pattern eth / ipv4 / end "
            f"actions set_ttl ttl_value 1{TO2} / end",
            "vm1/net0 ingress priority 7 pattern eth / ipv4 / udp / end "
            f"actions set_ttl ttl_value 2{TO2} / end",
        ):
            assert net.exchange("vm1", [UDP4]) == [bytes(change(UDP4, (IP, {"ttl": 1})))]

    def test_equal_priorities_ingress_precedes_transfer(self, net):
        with net.rules(
            "vm1/net0 transfer priority 7 pattern eth / ipv4 / end "
            f"actions set_ttl ttl_value 1{TO2} / end",
            "vm1/net0 ingress priority 7 pattern eth / ipv4 / end "
            f"actions set_ttl ttl_value 2{TO2} / end",
        ):
            assert net.exchange("vm1", [UDP4]) == [bytes(change(UDP4, (IP, {"ttl": 2})))]
        with net.rules(
            "vm1/net0 transfer priority 6 pattern eth / ipv4 / end "
            f"actions set_ttl ttl_value 1{TO2} / end",
            "vm1/net0 ingress priority 7 pattern eth / ipv4 / end "
            f"actions set_ttl ttl_value 2{TO2} / end",
        ):
            assert net.exchange("vm1", [UDP4]) == [bytes(change(UDP4, (IP, {"ttl": 1})))]


class TestEgress:
    MARKER = "vm2/net0 egress priority 0 pattern eth type is 0x88b5 / end actions passthru / end"

    def test_endpoint_without_egress_rules_receives_all(self, net):
        assert net.exchange("vm1", [UDP4, TCP4]) == [bytes(UDP4), bytes(TCP4)]

    def test_endpoint_with_egress_rules_receives_only_permitted_frames(self, net):
        before = net.drops()
        with net.rules(
            self.MARKER,
            "vm2/net0 egress priority 1 pattern eth / ipv4 / udp dst is 53 / end actions drop "
            "/ end",
            "vm2/net0 egress priority 2 pattern eth / ipv4 / udp / end actions count / end",
        ):
            assert net.exchange("vm1", [UDP4, TCP4, change(UDP4, (UDP, {"dport": 53}))]) == [
                bytes(UDP4)
            ]
        assert net.dropped_since(before) == {"egress_rule_drop": 1, "no_egress_rule": 1}

    def test_egress_rules_see_and_rewrite_the_result_of_ingress_rules(self, net):
        with net.rules(
            self.MARKER,
            "vm1/net0 ingress priority 5 pattern eth / ipv4 / end actions mark id 4 "
            f"/ set_ttl ttl_value 3{TO2} / end",
            "vm2/net0 egress priority 1 pattern mark id is 4 / eth / ipv4 ttl is 3 / end "
            f"actions set_ipv4_src ipv4_addr {NEW4} / end",
        ):
            assert net.exchange("vm1", [TCP4]) == [
                bytes(change(TCP4, (IP, {"ttl": 3, "src": NEW4})))
            ]

    def test_egress_rules_jump(self, net):
        before = net.drops()
        with net.rules(
            self.MARKER,
            "vm2/net0 egress priority 1 pattern eth / ipv4 / end actions jump group 2 / end",
            "vm2/net0 group 2 egress pattern eth / ipv4 / tcp / end actions count / end",
        ):
            assert net.exchange("vm1", [UDP4, TCP4]) == [bytes(TCP4)]
        assert net.dropped_since(before) == {"no_egress_rule": 1}

    def test_egress_rules_of_one_receiver_leave_other_copies_unchanged(self, net):
        with net.rules(
            self.MARKER,
            "vm2/net0 egress priority 1 pattern eth / ipv4 / end "
            f"actions set_ipv4_src ipv4_addr {NEW4} / end",
            "vm1/net0 ingress priority 5 pattern eth / ipv4 / end "
            f"actions represented_port ethdev_port_id vm3/net0{TO2} / end",
        ):
            got = net.exchange_all("vm1", [UDP4])
            assert [f.data for f in got["vm3"]] == [bytes(UDP4)]
            assert [f.data for f in got["vm2"]] == [bytes(change(UDP4, (IP, {"src": NEW4})))]


def test_frame_without_matching_rule_gets_miss_policy(net):
    from3 = change(UDP4, (Ether, {"src": mac(3)}))
    before = net.drops()
    assert net.exchange("vm3", [from3]) == []  # its profile says drop
    assert net.dropped_since(before) == {"no_rule": 1}
    with net.rules("vm3/net0 ingress priority 5 pattern eth / ipv4 / end actions normal / end"):
        assert net.exchange("vm3", [from3]) == [bytes(from3)]
    assert net.exchange("vm1", [UDP4]) == [bytes(UDP4)]  # its profile says normal
