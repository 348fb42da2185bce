# SPDX-License-Identifier: Apache-2.0
"""Guests exchange frames through the real switch.

The tests cover learning, VLANs, malformed frames, the features that NICs negotiate, and counters
that agree with the sent frames. The rules' items and actions have their own files.
"""
import itertools
import struct

import pytest
from scapy_frames import (
    ARP4,
    ETH,
    ICMP4,
    ICMP6,
    IP4,
    IP6,
    LOAD,
    OTHER,
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
    Dot1Q,
    Ether,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    Raw,
    change,
)
from front_end_guests import NEEDS_CSUM, finished, mac, network, ones_sum, wait_for

GUESTS = {
    "vm1": {"endpoint": {"mtu": 9000}, "nic": {"mtu": 9000, "buffer": 2048}},
    "vm2": {"nic": {"csum": 0, "tso": 0}},  # accepts no partial checksums
    "vm3": {"endpoint": {"mtu": 9000}, "nic": {"mtu": 9000, "buffer": 2048}},  # mergeable buffers
    "vm4": {"endpoint": {"mtu": 9000}, "nic": {"mtu": 9000, "mrg": 0, "buffer": 10000}},
    "vm5": {"endpoint": {"queues": 4}, "nic": {"queues": 4}},
    "vm6": {"endpoint": {"vlans": [0, 7]}},
    "vm7": {"endpoint": {"vlans": [4094]}, "nic": None},  # no guest; gets no flooded frames
}
NOWHERE = {"name": "vm8/net0", "macs": [mac(8)], "location": "none"}
EVERYBODY = ("vm2", "vm3", "vm4", "vm6")
STREAMS = itertools.count(20)  # the fixed numbers below are lower


@pytest.fixture(scope="module")
def net(godwitd):
    with network(godwitd, GUESTS, more_endpoints=[NOWHERE]) as made:
        made.mark("vm1", EVERYBODY)
        for name in ("vm2", "vm3", "vm6"):
            made.mark(name, ("vm1",))
        yield made


def to(number, frame=UDP4, source=1):
    return change(frame, (Ether, {"dst": mac(number), "src": mac(source)}))


def data(frames):
    return {name: [f.data for f in got] for name, got in frames.items()}


class TestNormal:
    def test_frames_of_every_kind_arrive_unchanged(self, net):
        frames = [
            UDP4,
            TCP4,
            ICMP4,
            UDP6,
            TCP6,
            ICMP6,
            ARP4,
            TAGGED,
            VXLAN4,
            OTHER,
            change(UDP4, (Ether, {"type": 0x9000})),
        ]
        before = net.drops()
        assert net.exchange("vm1", frames) == [bytes(f) for f in frames]
        assert net.dropped_since(before) == {}

    def test_frame_to_known_address_goes_only_to_its_endpoint(self, net):
        got = data(net.exchange_all("vm1", [to(3)]))
        assert got == {"vm2": [], "vm3": [bytes(to(3))], "vm4": [], "vm6": []}

    def test_broadcast_goes_to_all_but_its_sender(self, net):
        frame = change(ARP4, (Ether, {"dst": "ff:ff:ff:ff:ff:ff"}))
        got = data(net.exchange_all("vm1", [frame]))
        assert got == {name: [bytes(frame)] for name in EVERYBODY}
        assert net.exchange("vm2", [], "vm1") == []

    def test_frame_to_unknown_address_is_flooded_until_learned(self, net):
        stranger = "02:aa:00:00:00:01"
        frame = change(UDP4, (Ether, {"dst": stranger}))
        assert all(got == [bytes(frame)] for got in data(net.exchange_all("vm1", [frame])).values())
        hello = change(UDP4, (Ether, {"src": stranger, "dst": VM1}))
        assert net.exchange("vm3", [hello], "vm1") == [bytes(hello)]
        assert data(net.exchange_all("vm1", [frame])) == {
            name: [bytes(frame)] if name == "vm3" else [] for name in EVERYBODY
        }
        tagged = ETH / Dot1Q(vlan=9) / IP4 / UDP() / Raw(LOAD)  # learned for its VLAN only
        tagged = change(tagged, (Ether, {"dst": stranger}))
        assert data(net.exchange_all("vm1", [tagged]))["vm2"] == [bytes(tagged)]

    def test_address_of_endpoint_cannot_be_taken_over(self, net):
        before = net.drops()
        stolen = change(UDP4, (Ether, {"src": VM2, "dst": VM1}))
        assert net.exchange("vm3", [stolen], "vm1") == [bytes(stolen)]
        assert data(net.exchange_all("vm1", [UDP4]))["vm2"] == [bytes(UDP4)]
        assert net.dropped_since(before) == {}

    def test_vlan_not_allowed_is_dropped_both_ways(self, net):
        before = net.drops()
        good, bad = (to(6, ETH / Dot1Q(vlan=vlan) / IP4 / UDP() / Raw(LOAD)) for vlan in (7, 8))
        got = data(net.exchange_all("vm1", [good, bad, to(6)]))
        assert got["vm6"] == [bytes(good), bytes(to(6))]
        assert got["vm2"] == [
            bytes(bad)
        ]  # in that VLAN the address is unknown: flooded, but not to vm6
        assert net.dropped_since(before) == {}
        with net.rules(
            "vm1/net0 ingress priority 5 pattern eth / vlan / end "
            "actions represented_port ethdev_port_id vm6/net0 / end"
        ):
            assert data(net.exchange_all("vm1", [good, bad]))["vm6"] == [bytes(good)]
        assert net.dropped_since(before) == {"vlan_not_allowed": 1}
        back = to(1, ETH / Dot1Q(vlan=8) / IP4 / UDP() / Raw(LOAD), source=6)
        assert net.exchange("vm6", [back], "vm1") == []
        assert net.dropped_since(before) == {"vlan_not_allowed": 2}

    @pytest.mark.parametrize(
        "reason,frame",
        [
            ("own_echo", to(1)),
            ("no_location", to(8)),
            ("spoofed_group_source", change(UDP4, (Ether, {"src": "03:00:00:00:00:01"}))),
        ],
        ids=lambda v: v if isinstance(v, str) else "",
    )
    def test_frame_without_destination_is_a_named_drop(self, net, reason, frame):
        before = net.drops()
        assert net.exchange("vm1", [frame]) == []
        assert net.dropped_since(before) == {reason: 1}

    def test_frame_to_port_without_guest_is_a_named_drop(self, net):
        before = net.drops()
        net.exchange("vm1", [to(7, change(TAGGED, (Dot1Q, {"vlan": 4094})))] * 3)
        wait_for(
            lambda: net.dropped_since(before) == {"tx_down": 3},
            10,
            "three frames counted as tx_down",
        )
        assert net.port("vm7/net0")["drops"] == {"tx_down": 3}


def cut(frame, length):
    return bytes(frame)[:length]


def patch(frame, at, *values):
    data = bytearray(bytes(frame))
    data[at : at + len(values)] = values
    return bytes(data)


def resum(frame):
    """Returns an IPv4 header with a correct checksum, so that only another field is wrong."""
    data = bytearray(bytes(frame))
    length = max(20, (data[14] & 15) * 4)
    data[24:26] = b"\0\0"
    data[24:26] = struct.pack("!H", ones_sum(bytes(data[14 : 14 + length])))
    return bytes(data)


MALFORMED = [
    ("malformed_eth", "a tag cut short", cut(TAGGED, 16)),
    ("malformed_eth", "a second tag cut short", cut(ETH / Dot1Q(vlan=1) / Dot1Q(vlan=2) / IP4, 20)),
    ("malformed_arp", "ARP cut short", cut(ARP4, 41)),
    ("malformed_arp", "ARP with wrong lengths", patch(ARP4, 18, 5)),
    ("malformed_ipv4", "IPv4 cut short", cut(UDP4, 33)),
    ("malformed_ipv4", "version 5", resum(patch(UDP4, 14, 0x55))),
    ("malformed_ipv4", "header of 16 bytes", resum(patch(UDP4, 14, 0x44))),
    ("malformed_ipv4", "header longer than the packet", resum(patch(cut(UDP4, 42), 14, 0x4F))),
    ("malformed_ipv4", "total length below the header", resum(patch(UDP4, 16, 0, 19))),
    ("malformed_ipv4", "total length beyond the frame", resum(patch(UDP4, 16, 0, 200))),
    ("malformed_ipv4", "wrong header checksum", patch(UDP4, 24, 0xDE, 0xAD)),
    ("malformed_ipv6", "IPv6 cut short", cut(UDP6, 53)),
    ("malformed_ipv6", "version 7", patch(UDP6, 14, 0x70)),
    ("malformed_ipv6", "payload beyond the frame", patch(UDP6, 18, 4, 0)),
    (
        "malformed_ipv6",
        "extension header beyond the packet",
        patch(ETH / IP6 / IPv6ExtHdrDestOpt() / UDP() / Raw(LOAD), 55, 200),
    ),
    (
        "malformed_ipv6",
        "two fragment headers",
        bytes(ETH / IP6 / IPv6ExtHdrFragment(m=1) / IPv6ExtHdrFragment(m=1) / UDP() / Raw(LOAD)),
    ),
    (
        "malformed_l4",
        "TCP cut short",
        bytes(ETH / change(IP4, ("IP", {"proto": 6})) / Raw(bytes(19))),
    ),
    (
        "malformed_l4",
        "TCP header longer than the packet",
        bytes(change(TCP4, (TCP, {"dataofs": 15}))),
    ),
    ("malformed_l4", "TCP header of 16 bytes", bytes(change(TCP4, (TCP, {"dataofs": 4})))),
    ("malformed_l4", "UDP length below its header", bytes(change(UDP4, (UDP, {"len": 7})))),
    ("malformed_l4", "UDP length beyond the packet", bytes(change(UDP4, (UDP, {"len": 400})))),
    (
        "malformed_l4",
        "UDP cut short",
        bytes(ETH / change(IP4, ("IP", {"proto": 17})) / Raw(bytes(7))),
    ),
    (
        "malformed_l4",
        "ICMP cut short",
        bytes(ETH / change(IP4, ("IP", {"proto": 1})) / Raw(bytes(7))),
    ),
    (
        "malformed_l4",
        "ICMPv6 cut short",
        bytes(ETH / change(IP6, ("IPv6", {"nh": 58})) / Raw(b"\1\0\0")),
    ),
    ("malformed_l4", "VXLAN cut short", bytes(ETH / IP4 / UDP(dport=4789) / Raw(bytes(7)))),
]


@pytest.mark.parametrize("reason,what,frame", MALFORMED, ids=[row[1] for row in MALFORMED])
def test_malformed_frame_is_a_named_drop(net, reason, what, frame):
    before, port = net.drops(), net.port("vm1/net0")["drops"].get(reason, 0)
    assert net.exchange("vm1", [frame, UDP4]) == [bytes(UDP4)], what
    assert net.dropped_since(before) == {reason: 1}
    assert net.port("vm1/net0")["drops"][reason] == port + 1


class TestNic:
    def test_segmentation_is_masked_and_checksums_are_offered(self, net):
        features = net.vms.info("vm1")["features"]
        features = int(features, 0) if isinstance(features, str) else features
        for bit, name in (
            (11, "HOST_TSO4"),
            (12, "HOST_TSO6"),
            (14, "HOST_UFO"),
            (7, "GUEST_TSO4"),
            (10, "GUEST_UFO"),
        ):
            assert not features >> bit & 1, name
        for bit, name in ((0, "CSUM"), (1, "GUEST_CSUM"), (15, "MRG_RXBUF"), (32, "VERSION_1")):
            assert features >> bit & 1, name

    @pytest.mark.parametrize(
        "frame", [UDP4, TCP4, UDP6, TCP6], ids=["udp4", "tcp4", "udp6", "tcp6"]
    )
    def test_partial_checksum_is_completed_for_receiver_without_offload(self, net, frame):
        net.vms.send("vm1", [bytes(to(2, frame)), bytes(to(3, frame))], csum="partial")
        got = net.exchange_all("vm1", [])
        assert [(f.data.hex(), f.header["flags"] & NEEDS_CSUM) for f in got["vm2"]] == [
            (bytes(to(2, frame)).hex(), 0)
        ]
        assert [finished(f).hex() for f in got["vm3"]] == [bytes(to(3, frame)).hex()]

    def test_jumbo_frame_arrives_in_mergeable_or_large_buffers(self, net):
        jumbo = ETH / IP4 / UDP(sport=1000, dport=2000) / Raw(bytes(range(256)) * 34 + bytes(268))
        assert len(bytes(jumbo)) == 9000 + 14
        got = data(net.exchange_all("vm1", [to(3, jumbo), to(4, jumbo)]))
        assert got == {
            "vm2": [],
            "vm3": [bytes(to(3, jumbo))],
            "vm4": [bytes(to(4, jumbo))],
            "vm6": [],
        }

    def test_rewritten_jumbo_frame_has_correct_checksum(self, net):
        jumbo = ETH / IP4 / UDP(sport=1000, dport=2000) / Raw(bytes(range(256)) * 34)
        with net.rules(
            "vm1/net0 ingress priority 5 pattern eth / ipv4 / end "
            "actions set_ipv4_src ipv4_addr 10.9.9.9 / normal / end"
        ):
            expected = to(3, change(jumbo, ("IP", {"src": "10.9.9.9"})))
            net.vms.send("vm1", bytes(to(3, jumbo)), csum="partial")
            assert [finished(f) for f in net.exchange_all("vm1", [to(3, jumbo)])["vm3"]] == [
                bytes(expected)
            ] * 2

    def test_frame_over_mtu_of_receiver_is_a_named_drop(self, net):
        fits = ETH / IP4 / UDP() / Raw(bytes(1472))
        assert len(bytes(fits)) == 1514
        before, port = net.drops(), net.port("vm2/net0")["drops"].get("too_big", 0)
        tagged = (
            ETH / Dot1Q(vlan=5) / IP4 / UDP() / Raw(bytes(1472))
        )  # a tag is not part of the MTU
        assert net.exchange("vm1", [fits, ETH / IP4 / UDP() / Raw(bytes(1473)), tagged]) == [
            bytes(fits),
            bytes(tagged),
        ]
        assert net.dropped_since(before) == {"too_big": 1}
        assert net.port("vm2/net0")["drops"]["too_big"] == port + 1

    def test_flows_spread_over_queues_and_keep_order_in_each(self, net):
        net.vms.drain("vm5")
        before = net.drops()
        net.vms.stream(11, source="vm1", dst=mac(5), pps=4000, count=800, flows=40)
        net.vms.stream_wait(11)
        got = []
        wait_for(
            lambda: got.extend(net.vms.recv("vm5", 800, 200)) or len(got) >= 800, 10, "800 frames"
        )
        queues = {}
        for frame in got:
            queues.setdefault(Ether(frame.data)[UDP].sport, set()).add(frame.header["queue"])
        assert len(queues) == 40 and all(len(of_flow) == 1 for of_flow in queues.values())
        assert len(set.union(*queues.values())) == 4
        assert net.dropped_since(before) == {}

    def test_every_queue_of_guest_is_polled(self, net):
        frames = [
            change(to(2, UDP4, source=5), (UDP, {"sport": 100 + queue})) for queue in range(4)
        ]
        for queue, frame in enumerate(frames):
            net.vms.send("vm5", bytes(frame), queue=queue)
        got = []
        wait_for(
            lambda: got.extend(net.vms.recv("vm2", 4, 200)) or len(got) >= 4,
            10,
            "a frame from each queue",
        )
        assert sorted(f.data for f in got) == sorted(bytes(frame) for frame in frames)


class TestCounters:
    def test_ports_and_rules_count_sent_frames(self, net):
        frames = [UDP4] * 30 + [TCP4] * 20 + [UDP4 / Raw(bytes(1000))] * 10
        names = ("vm1/net0", "vm2/net0", "vm3/net0")
        marker = 14 + 8 + 40
        before, drops = {name: net.port(name) for name in names}, net.drops()
        with net.rules(
            "vm1/net0 ingress priority 5 pattern eth / ipv4 / tcp / end actions drop / end",
            "vm1/net0 ingress priority 6 pattern eth / ipv4 / udp / end actions count / normal "
            "/ end",
            "vm2/net0 egress priority 1 pattern eth / end actions count / end",
        ) as (tcp, udp, egress):
            got = net.exchange("vm1", frames)
            assert net.hits(tcp) == (20, 20 * len(bytes(TCP4)))
            assert net.hits(udp) == (40, sum(map(len, got)))
            assert net.hits(egress) == (41, sum(map(len, got)) + marker)
        after = {name: net.port(name) for name in names}
        grown = {
            name: {
                key: after[name][key] - before[name][key]
                for key in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
            }
            for name in names
        }
        sent = sum(len(bytes(f)) for f in frames) + marker
        assert grown["vm1/net0"] == {
            "rx_packets": 61,
            "rx_bytes": sent,
            "tx_packets": 0,
            "tx_bytes": 0,
        }
        assert grown["vm2/net0"] == {
            "rx_packets": 0,
            "rx_bytes": 0,
            "tx_packets": 41,
            "tx_bytes": sum(map(len, got)) + marker,
        }
        assert grown["vm3/net0"] == {
            "rx_packets": 0,
            "rx_bytes": 0,
            "tx_packets": 1,
            "tx_bytes": marker,
        }
        assert net.dropped_since(drops) == {"rule_drop": 20}

    def test_fast_stream_is_delivered_or_counted_as_named_drop(self, net):
        net.vms.sink("vm3")
        before = net.drops()
        net.vms.stream(12, source="vm1", dst=mac(3), pps=50000, count=50000, flows=8)
        sent = net.vms.stream_wait(12)[0]["sent"]

        def accounted():
            received = net.vms.stats("vm3")["streams"].get("12", {}).get("received", 0)
            return received + sum(net.dropped_since(before).values()) == sent and received

        received = wait_for(accounted, 10, "every packet received or dropped by name")
        account = net.vms.stats("vm3")["streams"]["12"]
        net.vms.sink("vm3", on=False)
        assert (account["duplicates"], account["corrupt"]) == (0, 0)
        assert received > sent / 2 and set(net.dropped_since(before)) <= {
            "tx_queue_full",
            "tx_ring_full",
        }

    @pytest.mark.parametrize("when", ["at-rest", "dirty-logging-has-begun", "settling"])
    def test_frames_for_full_ring_wait_only_around_migration(self, net, when):
        # At rest, the rings have run for so long that no frame waits because they just started.
        # Settling waits for longer than the time that a guest has to catch up after a migration.
        logging = when == "dirty-logging-has-begun"
        if when == "settling":
            net.vms.log("vm3", "on")
            net.vms.log("vm3", "off")
        net.vms.run({"at-rest": 10200, "settling": 3000}.get(when, 0))
        net.vms.sink("vm3")
        before, number = net.drops(), next(STREAMS)
        if logging:
            net.vms.log("vm3", "on")
        net.vms.pause("vm3")
        net.vms.stream(number, source="vm1", dst=mac(3), pps=20000, count=1000)
        sent = net.vms.stream_wait(number)[0]["sent"]
        net.vms.run(50)
        net.vms.unpause("vm3")

        def received():
            return net.vms.stats("vm3")["streams"].get(str(number), {}).get("received", 0)

        wait_for(
            lambda: received() + sum(net.dropped_since(before).values()) == sent,
            5,
            "every packet received or dropped by name",
        )
        account = net.vms.stats("vm3")["streams"][str(number)]
        if logging:
            net.vms.log("vm3", "off")
        net.vms.sink("vm3", on=False)
        assert (account["duplicates"], account["out_of_order"], account["corrupt"]) == (0, 0, 0)
        assert set(net.dropped_since(before)) == ({"tx_queue_full"} if when == "at-rest" else set())

    def test_frames_for_settled_guest_with_full_ring_are_soon_dropped(self, net):
        net.vms.log("vm3", "on")
        net.vms.log("vm3", "off")
        net.vms.run(3000)
        net.vms.sink("vm3")
        before, number = net.drops(), next(STREAMS)
        net.vms.pause("vm3")
        net.vms.stream(number, source="vm1", dst=mac(3), pps=20000, count=1000)
        net.vms.stream_wait(number)
        net.vms.run(400)
        held = sum(worker["held"] for worker in net.rpc.call("show.workers")["workers"])
        net.vms.unpause("vm3")
        net.vms.run(100)
        received = net.vms.stats("vm3")["streams"][str(number)]["received"]
        net.vms.sink("vm3", on=False)
        assert held == 0 and net.dropped_since(before) == {"tx_queue_full": 1000 - received}

    def test_guests_with_full_rings_leave_buffers_to_others(self, net):
        stuck, before = {"vm2": next(STREAMS), "vm3": next(STREAMS)}, net.drops()
        net.vms.sink([*stuck, "vm5"])
        for name in stuck:
            net.vms.log(name, "on")
        net.vms.pause(stuck)
        for name, number in stuck.items():
            net.vms.stream(number, source="vm1", dst=mac(int(name[2:])), pps=20000, count=3000)
        net.vms.run(500)
        pools = net.rpc.call("show.memory")["pools"]
        assert any(
            pool["available"] < pool["size"] / 2 for pool in pools
        ), pools  # the full rings hold much of one pool
        assert all(pool["available"] >= pool["size"] / 4 for pool in pools), pools
        beside = next(STREAMS)
        net.vms.stream(beside, source="vm1", dst=mac(5), pps=4000, count=800, flows=40)
        net.vms.stream_wait(timeout_ms=10000)
        net.vms.sink_wait("vm5", beside, 800, 5000)
        assert net.vms.stats("vm5")["streams"][str(beside)]["received"] == 800
        net.vms.unpause(stuck)

        def received():
            return sum(
                net.vms.stats(name)["streams"].get(str(number), {}).get("received", 0)
                for name, number in stuck.items()
            )

        wait_for(
            lambda: received() + sum(net.dropped_since(before).values()) == 6000,
            5,
            "every packet received or dropped by name",
        )
        for name in stuck:
            net.vms.log(name, "off")
        net.vms.sink([*stuck, "vm5"], on=False)
        assert set(net.dropped_since(before)) == {"tx_queue_full"}
        assert len(net.exchange("vm1", [UDP4])) == 1

    def test_clear_port_stats_resets_counters_to_zero(self, net):
        net.exchange("vm1", [UDP4])
        net.rpc.command("clear port stats vm1/net0")
        assert net.port("vm1/net0")["rx_packets"] == 0
        net.exchange("vm1", [UDP4] * 3)
        assert net.port("vm1/net0")["rx_packets"] == 4

    def test_no_packet_passed_without_policy(self, net):
        assert net.unpoliced() == 0
