#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Frames made by scapy, with the flow key and the rewritten frames according to scapy.

Prints, for tests/unit/dataplane/pipeline/scapy_test.cc, lines of words separated by single blanks:

    frame NAME HEX
    key FIELD VALUE             of the frame above; a decimal number, or hex bytes (x:HEX)
    rewrite HEX ACTION [VALUE]  the result of the action on the frame above
    refused ACTION [VALUE]      the frame above lacks the header that the action needs

Deterministic: the same scapy prints the same lines.
"""
import copy
import logging
import socket

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    fragment6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether  # noqa: E402
from scapy.layers.sctp import SCTP  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402
from scapy.packet import Raw  # noqa: E402

LAYER = {
    name: 1 << bit
    for bit, name in enumerate(
        [
            "eth",
            "vlan",
            "vlan2",
            "arp",
            "ipv4",
            "ipv6",
            "fragment",
            "tcp",
            "udp",
            "icmp",
            "icmp6",
            "vxlan",
            "sctp",
            "ipv6_ext",
        ]
    )
}
EXTENSIONS = (IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
TAGS = (Dot1Q, Dot1AD)
MACS = dict(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")


def eth(**fields):
    return Ether(**{**MACS, **fields})


def ip4(**fields):
    return IP(**{**dict(src="192.0.2.1", dst="198.51.100.2", id=4711, tos=0xB8), **fields})


def ip6(**fields):
    return IPv6(**{**dict(src="2001:db8::1", dst="2001:db8:1::2", tc=0xB8, fl=0x12345), **fields})


def data(size):
    return Raw(bytes((7 + i * 11) & 255 for i in range(size)))


def transports():
    """Yields names and layers above IP, by IP version."""
    return {
        4: {
            "tcp": TCP(sport=40000, dport=443, flags="PA", seq=1, ack=2) / data(64),
            "tcp_syn_options": TCP(
                sport=40000,
                dport=443,
                flags="S",
                options=[
                    ("MSS", 1460),
                    ("SAckOK", b""),
                    ("Timestamp", (1, 0)),
                    ("NOP", None),
                    ("WScale", 7),
                ],
            ),
            "tcp_all_flags": TCP(sport=1, dport=65535, flags="FSRPAUEC"),
            "udp": UDP(sport=5353, dport=53) / data(33),
            "udp_empty": UDP(sport=1, dport=2),
            "udp_unsummed": UDP(sport=9, dport=10, chksum=0) / data(5),
            "icmp_echo": ICMP(type=8, code=0, id=77, seq=3) / data(40),
            "icmp_reply": ICMP(type=0, code=0, id=78, seq=65535) / data(1),
            "icmp_unreachable": ICMP(type=3, code=4, nexthopmtu=1400)
            / IP(src="198.51.100.2", dst="192.0.2.1")
            / UDP(),
            "icmp_timestamp": ICMP(type=13, code=0, id=5, seq=6, ts_ori=1, ts_rx=2, ts_tx=3),
            "sctp": SCTP(sport=2905, dport=2906, tag=1) / data(16),
            "vxlan": UDP(sport=50000, dport=4789)
            / VXLAN(vni=0xABCDEF, flags=8)
            / Ether(**MACS)
            / IP(src="10.1.1.1", dst="10.1.1.2", id=1)
            / TCP(),
            "other": data(30),
        },
        6: {
            "tcp": TCP(sport=40000, dport=443, flags="PA", seq=1, ack=2) / data(63),
            "udp": UDP(sport=5353, dport=53) / data(34),
            "icmp6_echo": ICMPv6EchoRequest(id=77, seq=3, data=b"godwit"),
            "icmp6_reply": ICMPv6EchoReply(id=78, seq=4, data=b"g"),
            "icmp6_neighbour": ICMPv6ND_NS(tgt="2001:db8:1::2")
            / ICMPv6NDOptSrcLLAddr(lladdr=MACS["src"]),
            "sctp": SCTP(sport=2905, dport=2906, tag=1) / data(16),
            "vxlan": UDP(sport=50000, dport=4789)
            / VXLAN(vni=1, flags=8)
            / Ether(**MACS)
            / data(20),
        },
    }


def packets():
    """Yields every frame with its name, as scapy layers. Scapy computes all derived fields."""
    upper = transports()
    for name, above in upper[4].items():
        proto = {"proto": 253} if name == "other" else {}
        yield f"ipv4_{name}", eth() / ip4(**proto) / above
    for name, above in upper[6].items():
        yield f"ipv6_{name}", eth() / ip6() / above
    yield "ipv4_df_options", eth() / ip4(
        flags="DF", ttl=1, options=[b"\x94\x04\x00\x00", b"\x01\x01\x01\x00"]
    ) / TCP(sport=3, dport=4) / data(9)
    yield "ipv4_ttl_zero", eth() / ip4(ttl=0) / UDP(sport=3, dport=4)
    yield "ipv4_ttl_255", eth() / ip4(ttl=255) / UDP(sport=3, dport=4)
    yield "vlan_ipv4", eth() / Dot1Q(vlan=100, prio=5, id=1) / ip4() / upper[4]["udp"]
    yield "vlan_ipv6", eth() / Dot1Q(vlan=4094) / ip6() / upper[6]["tcp"]
    yield "vlan_zero_arp", eth(dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=0, prio=7) / ARP(
        op=1, hwsrc=MACS["src"], psrc="10.0.0.1", pdst="10.0.0.2"
    )
    yield "qinq_ipv4", eth() / Dot1AD(vlan=200, prio=3) / Dot1Q(vlan=300, prio=1) / ip4() / upper[
        4
    ]["tcp"]
    yield "qinq_ipv6", eth() / Dot1Q(vlan=1) / Dot1Q(vlan=2) / ip6() / upper[6]["udp"]
    yield "arp_request", eth(dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=MACS["src"], psrc="10.0.0.1", pdst="10.0.0.2"
    )
    yield "arp_reply", eth() / ARP(
        op=2, hwsrc=MACS["src"], psrc="10.0.0.1", hwdst=MACS["dst"], pdst="10.0.0.2"
    )
    yield "rarp", eth(type=0x8035) / ARP(ptype=0x0800, op=3, hwsrc=MACS["src"], hwdst=MACS["src"])
    yield "lldp", eth(dst="01:80:c2:00:00:0e", type=0x88CC) / data(50)
    pad = PadN(optdata=b"\0" * 12)
    yield "ipv6_hop_by_hop", eth() / ip6() / IPv6ExtHdrHopByHop(options=[pad]) / upper[6][
        "icmp6_echo"
    ]
    yield "ipv6_dest_options", eth() / ip6() / IPv6ExtHdrDestOpt(options=[pad]) / upper[6]["tcp"]
    yield "ipv6_two_extensions", eth() / ip6() / IPv6ExtHdrHopByHop(
        options=[PadN(optdata=b"")]
    ) / IPv6ExtHdrDestOpt(options=[pad]) / upper[6]["udp"]
    yield "ipv6_routed_here", eth() / ip6() / IPv6ExtHdrRouting(
        addresses=["2001:db8::77"], segleft=0
    ) / upper[6]["udp"]
    yield "ipv6_routed_on", eth() / ip6() / IPv6ExtHdrRouting(
        addresses=["2001:db8::77"], segleft=1
    ) / upper[6]["tcp"]
    yield "ipv6_atomic_fragment", eth() / ip6() / IPv6ExtHdrFragment(offset=0, m=0, id=9) / upper[
        6
    ]["udp"]


def fragments():
    """Yields the frames of fragmented datagrams as bytes."""
    for i, piece in enumerate(fragment(ip4() / UDP(sport=7, dport=8) / data(100), fragsize=48)):
        yield f"ipv4_fragment_{i}", bytes(eth() / piece)
    whole = ip6() / IPv6ExtHdrFragment(id=5) / UDP(sport=7, dport=8) / data(2000)
    for i, piece in enumerate(fragment6(whole, 1280)):
        yield f"ipv6_fragment_{i}", bytes(eth() / piece)


def address(family, text):
    return "x:" + socket.inet_pton(family, text).hex()


def mac(text):
    return "x:" + text.replace(":", "")


def tags_of(frame):
    found, layer = [], frame.payload
    while isinstance(layer, TAGS):
        found.append(layer)
        layer = layer.payload
    return found, layer


def tci_of(tag):
    return tag.prio << 13 | tag.id << 12 | tag.vlan


def key_of(frame):
    """Returns the flow key according to scapy's dissection."""
    key = {"eth_dst": mac(frame.dst), "eth_src": mac(frame.src), "eth_type": frame.type}
    layers = {"eth"}
    tags, layer = tags_of(frame)
    for tag, name in zip(tags, ("vlan", "vlan2")):
        layers.add(name)
        key[f"{name}_tci"] = tci_of(tag)
        key["vlan_inner_type" if name == "vlan" else "vlan2_inner_type"] = tag.type
    last_type = tags[-1].type if tags else frame.type
    if isinstance(layer, ARP) and last_type == 0x0806:
        layers.add("arp")
        key.update(
            arp_opcode=layer.op,
            arp_sha=mac(layer.hwsrc),
            arp_tha=mac(layer.hwdst),
            ipv4_src=address(socket.AF_INET, layer.psrc),
            ipv4_dst=address(socket.AF_INET, layer.pdst),
        )
    elif isinstance(layer, IP):
        layers.add("ipv4")
        key.update(
            ip_tos=layer.tos,
            ip_ttl=layer.ttl,
            ip_proto=layer.proto,
            ip_fragment=int(layer.flags) << 13 | layer.frag,
            ipv4_src=address(socket.AF_INET, layer.src),
            ipv4_dst=address(socket.AF_INET, layer.dst),
        )
        if layer.frag or "MF" in layer.flags:
            layers.add("fragment")
        if not layer.frag:
            l4_of(layer.payload, key, layers)
    elif isinstance(layer, IPv6):
        layers.add("ipv6")
        key.update(
            ip_tos=layer.tc,
            ip_ttl=layer.hlim,
            ipv6_next=layer.nh,
            ipv6_flow=layer.fl,
            ipv6_src=address(socket.AF_INET6, layer.src),
            ipv6_dst=address(socket.AF_INET6, layer.dst),
        )
        offset = 0
        proto, layer = layer.nh, layer.payload
        while isinstance(layer, EXTENSIONS):
            layers.add("ipv6_ext")
            if isinstance(layer, IPv6ExtHdrFragment):
                layers.add("fragment")
                offset = layer.offset
                key["ip_fragment"] = layer.offset << 3 | layer.m
            proto, layer = layer.nh, layer.payload
        key["ip_proto"] = proto
        if not offset:
            l4_of(layer, key, layers)
    key["layers"] = sum(LAYER[name] for name in layers)
    return key


def l4_of(layer, key, layers):
    if isinstance(layer, (TCP, UDP, SCTP)):
        layers.add({TCP: "tcp", UDP: "udp", SCTP: "sctp"}[type(layer)])
        key.update(l4_src=layer.sport, l4_dst=layer.dport)
    if isinstance(layer, TCP):
        key["tcp_flags"] = int(layer.flags) & 0xFF
    if isinstance(layer, UDP) and isinstance(layer.payload, VXLAN):
        layers.add("vxlan")
        key["vxlan_vni"] = layer.payload.vni << 8
    if isinstance(layer, ICMP):
        layers.add("icmp")
        key.update(icmp_type=layer.type, icmp_code=layer.code)
        if layer.type in (0, 8, 13, 14):
            key.update(icmp_ident=layer.id, icmp_seq=layer.seq)
    if type(layer).__name__.startswith("ICMPv6"):
        layers.add("icmp6")
        key.update(icmp_type=layer.type, icmp_code=layer.code)
        if layer.type in (128, 129):
            key.update(icmp_ident=layer.id, icmp_seq=layer.seq)


class Refused(Exception):
    """The frame lacks the header that the action needs."""


def l3_of(frame, *kinds):
    layer = tags_of(frame)[1]
    if not isinstance(layer, kinds):
        raise Refused
    return layer


def l4_layer_of(frame):
    layer = l3_of(frame, IP, IPv6).payload
    while isinstance(layer, EXTENSIONS):
        layer = layer.payload
    if not isinstance(layer, (TCP, UDP)):
        raise Refused
    return layer


def setter(find, field, value):
    def change(frame):
        setattr(find(frame), field, value)
        return frame

    return change


def swap(frame):
    frame.dst, frame.src = frame.src, frame.dst
    return frame


def first_tag(frame):
    tags, _ = tags_of(frame)
    if not tags:
        raise Refused
    return tags[0]


def push(kind):
    def change(frame):
        tags, _ = tags_of(frame)
        new = kind(vlan=tags[0].vlan if tags else 0, prio=tags[0].prio if tags else 0)
        inner = frame.payload
        own_type = frame.fields.get("type")
        frame.remove_payload()
        if own_type is not None:
            new.type = own_type
        del frame.type
        return frame / new / inner

    return change


def pop(frame):
    tag = first_tag(frame)
    own_type = tag.fields.get("type")
    inner = tag.payload
    frame.remove_payload()
    if own_type is not None:
        frame.type = own_type
    else:
        del frame.type
    return frame / inner


def dec_ttl(frame):
    layer = l3_of(frame, IP, IPv6)
    field = "ttl" if isinstance(layer, IP) else "hlim"
    if getattr(layer, field) <= 1:
        raise Refused
    setattr(layer, field, getattr(layer, field) - 1)
    return frame


def set_ttl(value):
    def change(frame):
        layer = l3_of(frame, IP, IPv6)
        setattr(layer, "ttl" if isinstance(layer, IP) else "hlim", value)
        return frame

    return change


def ip_of(kind):
    return lambda frame: l3_of(frame, kind)


REWRITES = [
    ("set_mac_src 02:12:34:56:78:9a", setter(lambda f: f, "src", "02:12:34:56:78:9a")),
    ("set_mac_dst 02:12:34:56:78:9b", setter(lambda f: f, "dst", "02:12:34:56:78:9b")),
    ("mac_swap", swap),
    ("set_ipv4_src 203.0.113.77", setter(ip_of(IP), "src", "203.0.113.77")),
    ("set_ipv4_dst 255.255.0.0", setter(ip_of(IP), "dst", "255.255.0.0")),
    ("set_ipv6_src 2001:db8:ffff::77", setter(ip_of(IPv6), "src", "2001:db8:ffff::77")),
    ("set_ipv6_dst fe80::1:2:3", setter(ip_of(IPv6), "dst", "fe80::1:2:3")),
    ("set_tp_src 61000", setter(l4_layer_of, "sport", 61000)),
    ("set_tp_dst 8", setter(l4_layer_of, "dport", 8)),
    ("set_ttl 17", set_ttl(17)),
    ("dec_ttl", dec_ttl),
    ("of_push_vlan 33024", push(Dot1Q)),
    ("of_push_vlan 34984", push(Dot1AD)),
    ("of_pop_vlan", pop),
    ("of_set_vlan_vid 4001", setter(first_tag, "vlan", 4001)),
    ("of_set_vlan_pcp 6", setter(first_tag, "prio", 6)),
]


def main():
    for name, packet in packets():
        raw = bytes(packet)
        print("frame", name, raw.hex())
        for field, value in sorted(key_of(Ether(raw)).items()):
            print("key", field, value)
        for action, change in REWRITES:
            try:
                print("rewrite", bytes(change(copy.deepcopy(packet))).hex(), action)
            except Refused:
                print("refused", action)
    for name, raw in fragments():
        print("frame", name, raw.hex())
        for field, value in sorted(key_of(Ether(raw)).items()):
            print("key", field, value)


if __name__ == "__main__":
    main()
