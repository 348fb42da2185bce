# SPDX-License-Identifier: Apache-2.0
"""Every pattern item and field: a frame that it matches and one that it does not match.

The rule under test gives matching frames another source MAC. Other frames pass unchanged.
"""
import pytest
from scapy_frames import (
    ARP,
    ARP4,
    DOUBLE,
    ETH,
    ICMP,
    ICMP4,
    ICMP6,
    IP,
    IP6,
    LOAD,
    OTHER,
    SCTP,
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
    VXLAN,
    VXLAN4,
    Dot1AD,
    Dot1Q,
    Ether,
    ICMPv6DestUnreach,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    change,
)
from front_end_guests import mac, network

MARK = "02:00:00:00:00:ee"
SECOND1, SECOND2 = mac(0x11), mac(0x12)
GUESTS = {
    "vm1": {"endpoint": {"macs": [VM1, SECOND1, MARK]}},
    "vm2": {"endpoint": {"macs": [VM2, SECOND2]}},
    "vm3": {},
}

FRAGMENT4 = (
    ETH
    / IP(src="10.0.0.1", dst="10.0.0.2", ttl=64, flags="MF", frag=3, proto=17)
    / Raw(LOAD + b"x")
)
FRAGMENT6 = ETH / IP6 / IPv6ExtHdrFragment(offset=3, m=1, id=5, nh=17) / Raw(LOAD + b"x")
EXTENDED6 = ETH / IP6 / IPv6ExtHdrHopByHop() / UDP(sport=1000, dport=2000) / Raw(LOAD)

# (pattern without its end, frames that match, frames that do not match)
FIELDS = [
    ("eth", OTHER, None),
    (f"eth dst is {VM2}", UDP4, change(UDP4, (Ether, {"dst": SECOND2}))),
    (f"eth src is {VM1}", UDP4, change(UDP4, (Ether, {"src": SECOND1}))),
    ("eth type is 0x88b6", OTHER, change(OTHER, (Ether, {"type": 0x88B7}))),
    ("eth has_vlan is 1", TAGGED, UDP4),
    ("eth has_vlan is 0", UDP4, TAGGED),
    ("eth / vlan", TAGGED, UDP4),
    ("eth / vlan tci is 0x6005", TAGGED, change(TAGGED, (Dot1Q, {"prio": 2}))),
    ("eth / vlan vid is 5", TAGGED, change(TAGGED, (Dot1Q, {"vlan": 6}))),
    ("eth / vlan pcp is 3", TAGGED, change(TAGGED, (Dot1Q, {"prio": 4}))),
    ("eth / vlan dei is 1", change(TAGGED, (Dot1Q, {"id": 1})), TAGGED),
    (
        "eth / vlan inner_type is 0x0800",
        TAGGED,
        ETH / Dot1Q(vlan=5, prio=3, type=0x88B6) / Raw(LOAD),
    ),
    ("eth / vlan has_more_vlan is 1", DOUBLE, TAGGED),
    ("eth / vlan has_more_vlan is 0", TAGGED, DOUBLE),
    ("eth / vlan vid is 5 / vlan vid is 6", DOUBLE, change(DOUBLE, (Dot1Q, {"vlan": 7}))),
    (
        "eth / vlan vid is 5 / vlan vid is 6 / ipv4 / udp",
        DOUBLE,
        change(DOUBLE, (Dot1AD, {"vlan": 7})),
    ),
    ("eth / arp_eth_ipv4", ARP4, UDP4),
    (f"eth / arp_eth_ipv4 sha is {VM1}", ARP4, change(ARP4, (ARP, {"hwsrc": SECOND1}))),
    ("eth / arp_eth_ipv4 spa is 10.0.0.1", ARP4, change(ARP4, (ARP, {"psrc": "10.0.0.9"}))),
    (f"eth / arp_eth_ipv4 tha is {VM2}", ARP4, change(ARP4, (ARP, {"hwdst": SECOND2}))),
    ("eth / arp_eth_ipv4 tpa is 10.0.0.2", ARP4, change(ARP4, (ARP, {"pdst": "10.0.0.9"}))),
    ("eth / ipv4", TCP4, TCP6),
    ("eth / ipv4", TAGGED, ARP4),
    ("eth / ipv4 tos is 0x20", change(UDP4, (IP, {"tos": 0x20})), UDP4),
    ("eth / ipv4 fragment_offset is 0x2003", FRAGMENT4, change(FRAGMENT4, (IP, {"frag": 4}))),
    ("eth / ipv4 ttl is 64", UDP4, change(UDP4, (IP, {"ttl": 63}))),
    ("eth / ipv4 proto is 6", TCP4, UDP4),
    ("eth / ipv4 src is 10.0.0.1", UDP4, change(UDP4, (IP, {"src": "10.0.0.3"}))),
    ("eth / ipv4 dst is 10.0.0.2", UDP4, change(UDP4, (IP, {"dst": "10.0.0.3"}))),
    ("eth / ipv6", UDP6, UDP4),
    ("eth / ipv6 tc is 0x12", change(UDP6, (IPv6, {"tc": 0x12})), UDP6),
    ("eth / ipv6 flow is 0xabcde", change(UDP6, (IPv6, {"fl": 0xABCDE})), UDP6),
    ("eth / ipv6 proto is 17", UDP6, EXTENDED6),
    ("eth / ipv6 hop is 64", UDP6, change(UDP6, (IPv6, {"hlim": 63}))),
    ("eth / ipv6 src is fd00::1", UDP6, change(UDP6, (IPv6, {"src": "fd00::3"}))),
    ("eth / ipv6 dst is fd00::2", UDP6, change(UDP6, (IPv6, {"dst": "fd00::3"}))),
    ("eth / ipv6 has_frag_ext is 1", FRAGMENT6, UDP6),
    ("eth / ipv6 / ipv6_ext", EXTENDED6, UDP6),
    ("eth / ipv6 / ipv6_ext / udp dst is 2000", EXTENDED6, UDP6),
    ("eth / ipv6 / ipv6_frag_ext", FRAGMENT6, UDP6),
    (
        "eth / ipv6 / ipv6_frag_ext frag_data is 25",
        FRAGMENT6,
        change(FRAGMENT6, (IPv6ExtHdrFragment, {"offset": 4})),
    ),
    ("eth / ipv4 / tcp", TCP4, UDP4),
    ("eth / ipv4 / tcp src is 1000", TCP4, change(TCP4, (TCP, {"sport": 1001}))),
    ("eth / ipv4 / tcp dst is 2000", TCP4, change(TCP4, (TCP, {"dport": 2001}))),
    ("eth / ipv6 / tcp flags is 0x02", TCP6, change(TCP6, (TCP, {"flags": "SA"}))),
    ("eth / ipv4 / udp", UDP4, TCP4),
    ("eth / ipv4 / udp src is 1000", UDP4, change(UDP4, (UDP, {"sport": 1001}))),
    ("eth / ipv6 / udp dst is 2000", UDP6, change(UDP6, (UDP, {"dport": 2001}))),
    ("eth / ipv4 / udp", UDP4, FRAGMENT4),
    ("eth / ipv6 / udp", UDP6, FRAGMENT6),
    ("eth / ipv4 / sctp src is 1000", SCTP4, change(SCTP4, (SCTP, {"sport": 1001}))),
    ("eth / ipv4 / sctp dst is 2000", SCTP4, change(SCTP4, (SCTP, {"dport": 2001}))),
    ("eth / ipv4 / icmp type is 8", ICMP4, change(ICMP4, (ICMP, {"type": 0}))),
    ("eth / ipv4 / icmp code is 0", ICMP4, change(ICMP4, (ICMP, {"code": 1}))),
    ("eth / ipv4 / icmp ident is 0x1234", ICMP4, change(ICMP4, (ICMP, {"id": 0x1235}))),
    ("eth / ipv4 / icmp seq is 9", ICMP4, change(ICMP4, (ICMP, {"seq": 10}))),
    ("eth / ipv6 / icmp6 type is 128", ICMP6, ETH / IP6 / ICMPv6DestUnreach(code=4) / Raw(LOAD)),
    ("eth / ipv6 / icmp6 code is 4", ETH / IP6 / ICMPv6DestUnreach(code=4) / Raw(LOAD), ICMP6),
    ("eth / ipv4 / udp / vxlan", VXLAN4, UDP4),
    ("eth / ipv4 / udp / vxlan vni is 70", VXLAN4, change(VXLAN4, (VXLAN, {"vni": 71}))),
    ("void / eth / void / ipv4 / udp / void", UDP4, TCP4),
]
# Masks, prefixes and ranges: their first and last values, and the values next to those.
RANGES = [
    (
        "eth / ipv4 src spec 10.1.2.0 src prefix 24",
        change(UDP4, (IP, {"src": "10.1.2.255"})),
        change(UDP4, (IP, {"src": "10.1.3.0"})),
    ),
    (
        "eth / ipv4 dst spec 10.0.0.2 dst mask 255.0.0.255",
        change(UDP4, (IP, {"dst": "10.7.8.2"})),
        change(UDP4, (IP, {"dst": "10.7.8.3"})),
    ),
    (
        "eth / ipv6 dst spec fd00:: dst prefix 64",
        UDP6,
        change(UDP6, (IPv6, {"dst": "fd00:0:0:1::2"})),
    ),
    (
        "eth / ipv4 / udp dst spec 2000 dst last 2010 dst mask 0xffff",
        change(UDP4, (UDP, {"dport": 2010})),
        change(UDP4, (UDP, {"dport": 2011})),
    ),
    (
        "eth / ipv4 / tcp src spec 1000 src last 1003 src mask 0xffff",
        TCP4,
        change(TCP4, (TCP, {"sport": 999})),
    ),
    ("eth / ipv4 ttl spec 2 ttl last 64 ttl mask 0xff", UDP4, change(UDP4, (IP, {"ttl": 65}))),
    ("eth / ipv4 / tcp flags spec 0x08 flags mask 0x08", TCP4, change(TCP4, (TCP, {"flags": "A"}))),
    (
        "eth dst spec 02:00:00:00:00:00 dst mask ff:ff:ff:ff:ff:f0",
        UDP4,
        change(UDP4, (Ether, {"dst": SECOND2})),
    ),
    (
        "eth / vlan tci spec 0x6000 tci mask 0xe000",
        change(TAGGED, (Dot1Q, {"vlan": 77})),
        change(TAGGED, (Dot1Q, {"prio": 2})),
    ),
    (
        "eth / ipv4 / udp / vxlan vni spec 0x40 vni mask 0xfffff0",
        VXLAN4,
        change(VXLAN4, (VXLAN, {"vni": 80})),
    ),
]


@pytest.fixture(scope="module")
def net(godwitd):
    with network(godwitd, GUESTS) as made:
        made.mark("vm1", ("vm2",))
        made.mark("vm3", ("vm2",))
        yield made


def marked(frame):
    return bytes(frame)[:6] + bytes.fromhex(MARK.replace(":", "")) + bytes(frame)[12:]


@pytest.mark.parametrize(
    "pattern,matched,left",
    FIELDS + RANGES,
    ids=[f"{i}-{row[0]}" for i, row in enumerate(FIELDS + RANGES)],
)
def test_item_matches_its_frames_and_no_others(net, pattern, matched, left):
    rule = (
        f"vm1/net0 ingress priority 5 pattern {pattern} / end "
        f"actions count / set_mac_src mac_addr {MARK} / represented_port ethdev_port_id vm2/net0 "
        "/ end"
    )
    before = net.drops()
    with net.rules(rule) as (made,):
        got = net.exchange("vm1", [matched] + ([left] if left is not None else []))
        assert got == [marked(matched)] + ([bytes(left)] if left is not None else [])
        assert net.hits(made) == (1, len(bytes(matched)))  # the marker's rule comes first
    assert net.dropped_since(before) == {}


@pytest.mark.parametrize(
    "item",
    [
        "represented_port ethdev_port_id is vm1/net0",
        "port_representor port_id is vm1/net0",
        "port_id id is vm1/net0",
    ],
)
def test_origin_item_matches_only_frames_from_its_port(net, item):
    # vm3 owns the transfer rule, which applies to any packet. Here it applies to vm1's.
    rule = (
        f"vm3/net0 transfer priority 5 pattern {item} / eth / ipv4 / end actions count / drop / end"
    )
    before = net.drops()
    with net.rules(rule) as (made,):
        assert net.exchange("vm1", [UDP4, OTHER]) == [bytes(OTHER)]
        assert net.exchange("vm3", [change(UDP4, (Ether, {"src": mac(3)}))]) == [
            bytes(change(UDP4, (Ether, {"src": mac(3)})))
        ]
        assert net.hits(made) == (1, len(bytes(UDP4)))
    assert net.dropped_since(before) == {"rule_drop": 1}


def test_transfer_rule_without_origin_matches_all_senders(net):
    from3 = change(UDP4, (Ether, {"src": mac(3)}))
    with net.rules(
        "vm1/net0 transfer priority 5 pattern eth / ipv4 / udp / end actions drop / end"
    ):
        assert net.exchange("vm1", [UDP4, TCP4]) == [bytes(TCP4)]
        assert net.exchange("vm3", [from3]) == []
    assert net.exchange("vm1", [UDP4]) == [bytes(UDP4)]


def test_mark_is_matched_by_later_rule(net):
    with net.rules(
        "vm1/net0 ingress priority 5 pattern eth / ipv4 / udp / end actions mark id 77 "
        "/ passthru / end",
        "vm1/net0 ingress priority 6 pattern mark id is 77 / eth / end actions drop / end",
        "vm1/net0 ingress priority 6 pattern mark id is 78 / eth / ipv4 / tcp / end actions drop "
        "/ end",
    ):
        assert net.exchange("vm1", [UDP4, TCP4]) == [bytes(TCP4)]
