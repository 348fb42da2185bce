# SPDX-License-Identifier: Apache-2.0
"""Frames made by scapy, from vm1 to vm2 unless a name says otherwise.

They are not built yet: a copy with changed fields gets its checksums from scapy.
"""
import logging

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment  # noqa: E402,F401
from scapy.layers.inet6 import (  # noqa: E402,F401
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    fragment6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether  # noqa: E402,F401
from scapy.layers.sctp import SCTP, SCTPChunkData  # noqa: E402,F401
from scapy.layers.vxlan import VXLAN  # noqa: E402,F401
from scapy.packet import Raw  # noqa: E402,F401

from front_end_guests import mac  # noqa: E402

VM1, VM2, VM3 = mac(1), mac(2), mac(3)
LOAD = bytes(range(1, 40))  # odd, so that a checksum's last byte counts

ETH = Ether(src=VM1, dst=VM2)
IP4 = IP(src="10.0.0.1", dst="10.0.0.2", ttl=64, id=7)
IP6 = IPv6(src="fd00::1", dst="fd00::2", hlim=64)
UDP4 = ETH / IP4 / UDP(sport=1000, dport=2000) / Raw(LOAD)
TCP4 = ETH / IP4 / TCP(sport=1000, dport=2000, flags="PA", seq=5, ack=6) / Raw(LOAD)
ICMP4 = ETH / IP4 / ICMP(type=8, id=0x1234, seq=9) / Raw(LOAD)
SCTP4 = ETH / IP4 / SCTP(sport=1000, dport=2000, tag=3) / SCTPChunkData(data=LOAD)
UDP6 = ETH / IP6 / UDP(sport=1000, dport=2000) / Raw(LOAD)
TCP6 = ETH / IP6 / TCP(sport=1000, dport=2000, flags="S") / Raw(LOAD)
ICMP6 = ETH / IP6 / ICMPv6EchoRequest(id=0x1234, seq=9, data=LOAD)
ARP4 = ETH / ARP(op=1, hwsrc=VM1, psrc="10.0.0.1", hwdst=VM2, pdst="10.0.0.2")
VXLAN4 = (
    ETH
    / IP4
    / UDP(sport=1000, dport=4789)
    / VXLAN(vni=70, flags="Instance")
    / Ether(src=VM3, dst=VM2)
    / IP4
    / UDP()
    / Raw(LOAD)
)
TAGGED = ETH / Dot1Q(vlan=5, prio=3) / IP4 / UDP(sport=1000, dport=2000) / Raw(LOAD)
# 802.1ad outside, 802.1Q inside.
DOUBLE = (
    ETH / Dot1AD(vlan=5, prio=3) / Dot1Q(vlan=6) / IP4 / UDP(sport=1000, dport=2000) / Raw(LOAD)
)
OTHER = Ether(src=VM1, dst=VM2, type=0x88B6) / Raw(LOAD)


def change(frame, *changes):
    """Returns a changed copy.

    A change is (layer, {field: value}), or (layer, number of that layer, {field: value}).
    """
    copy = frame.copy()
    for layer, *which, fields in changes:
        part = copy.getlayer(layer, which[0] if which else 1)
        for field, value in fields.items():
            setattr(part, field, value)
    return copy
