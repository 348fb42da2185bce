# SPDX-License-Identifier: Apache-2.0
"""The inputs of scripts/bench: rule sets, the rules for each switch, and the frames of flows.

Nothing is measured.
"""
import random
import sys

import pytest
from switch import REPO

sys.path.insert(0, str(REPO / "tests" / "bench"))

from runner import generate, rulesets, sets, traffic  # noqa: E402
from runner.parts import attack, ports, swap  # noqa: E402


def test_sets_come_from_directory_or_are_generated_by_seed(tmp_path, monkeypatch):
    for name in ("acl3_1000", "acl4_1000", "fw1_1000", "acl1_5000"):
        for suffix in (".xz", "_trace.xz"):
            (tmp_path / (name + suffix)).write_bytes(b"")
    (tmp_path / "ipc1_1000.xz").write_bytes(b"")  # no trace: no set
    monkeypatch.setattr(sets, "made", lambda context, kind, count: ("made", f"{kind}_{count}"))

    class Context:
        rulesets = str(tmp_path)

    chosen = [name for directory, name in sets.standard_sets(Context)]
    assert chosen[:4] == ["acl3_1000", "acl4_1000", "fw1_1000", "ipc_1000"] and chosen[-2:] == [
        "masks_100000",
        "nest_20000",
    ]
    assert (
        sets.available(tmp_path) == ["acl3_1000", "acl4_1000", "fw1_1000", "acl1_5000"]
        and sets.available("/nonexistent") == []
    )
    assert [
        sets.kind_of(name) for name in ("acl1_10", "msk_100000", "masks_5", "nest_20000", "other_5")
    ] == ["acl", "masks", "masks", "nest", None]
    assert sets.size_of("fw1_10000") == 10000 and sets.size_of("odd") == 0


def test_unknown_set_error_lists_existing_sets(tmp_path):
    for suffix in (".xz", "_trace.xz"):
        (tmp_path / f"acl1_1000{suffix}").write_bytes(b"")
    (tmp_path / "lonely_5.xz").write_bytes(b"")
    assert (
        sets.unknown_set(tmp_path, "acl1_1000") is None
        and sets.unknown_set(tmp_path, "nest_300") is None
    )
    assert sets.unknown_set(tmp_path, str(tmp_path / "acl1_1000.xz")) is None
    for word in ("acl1_2000", "frwd", "nest_", "masks_0"):
        reason = sets.unknown_set(tmp_path, word)
        assert f"'{word}'" in reason and "acl1_1000" in reason and "nest_N" in reason
    assert "trace" in sets.unknown_set(tmp_path, str(tmp_path / "lonely_5.xz"))


def test_port_range_becomes_prefixes_that_cover_it_exactly():
    dice = random.Random(3)
    spans = [(0, 65535), (1024, 65535), (1, 65534), (7, 7), (0, 0), (65535, 65535)]
    spans += [tuple(sorted((dice.randrange(65536), dice.randrange(65536)))) for _ in range(20)]
    for low, high in spans:
        ports = [
            value + i
            for value, mask in rulesets.port_prefixes(low, high)
            for i in range(0x10000 - mask)
        ]
        assert ports == list(range(low, high + 1))
    assert rulesets.port_prefixes(0, 65535) == [(0, 0)]


def test_filter_has_the_same_meaning_for_each_switch():
    line = "@10.1.2.3/24\t192.168.0.1/32\t0 : 65535\t1024 : 1027\t0x06/0xFF\t0x0000/0x0200\t"
    one = rulesets.parse_filter(line)
    assert one == rulesets.Filter((0x0A010200, 24), (0xC0A80001, 32), (0, 65535), (1024, 1027), 6)
    assert rulesets.parse_filter(one.line()) == one
    rules = rulesets.godwit_rules([one], "vm1/net0", "vm2/net0")
    assert rules[0] == (
        "flow create vm1/net0 ingress priority 0 pattern eth "
        "/ ipv4 src spec 10.1.2.0 src prefix 24 dst spec 192.168.0.1 "
        "dst prefix 32 / tcp dst spec 1024 dst last 1027 dst mask 0xffff / end "
        "actions represented_port ethdev_port_id vm2/net0 / end"
    )
    assert len(rules) == 2 and " priority 1 pattern eth / end " in rules[1]
    assert rulesets.ovs_flows([one], 1, 2)[0] == (
        "priority=65535,in_port=1,tcp,nw_src=10.1.2.0/24,nw_dst=192.168.0.1/32,"
        "tp_dst=0x400/0xfffc,actions=output:2"
    )
    # Ports ask for TCP or UDP where the protocol is open.
    wild = rulesets.parse_filter(
        "@0.0.0.0/0\t0.0.0.0/0\t5 : 5\t0 : 65535\t0x00/0x00\t0x0000/0x0000"
    )
    assert (
        len(rulesets.godwit_rules([wild], "a", "b")) == 3
        and len(rulesets.ovs_flows([wild], 1, 2)) == 3
    )


def test_ovs_priorities_fall_and_fit():
    one = rulesets.parse_filter(
        "@0.0.0.0/0\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x06/0xFF\t0x0000/0x0000"
    )
    for count in (3, 65000, 100000):
        priorities = [
            int(line.split(",")[0].split("=")[1])
            for line in rulesets.ovs_flows([one] * count, 1, 2)
        ]
        assert priorities == sorted(priorities, reverse=True)
        assert 0 < priorities[-2] < priorities[0] <= 65535 and priorities[-1] == 0


@pytest.mark.parametrize("kind", generate.KINDS)
def test_generated_set_depends_only_on_seed_and_is_hit_by_its_trace(kind, tmp_path):
    assert (
        generate.generate(kind, 300, 7)
        == generate.generate(kind, 300, 7)
        != generate.generate(kind, 300, 8)
    )
    name = generate.write(tmp_path, kind, 300, 7, headers=200)
    filters = rulesets.read_filters(rulesets.find(tmp_path, name))
    trace = rulesets.read_trace(rulesets.find(tmp_path, name + "_trace"))
    assert (
        filters == generate.generate(kind, 300, 7)
        and len(set(filters)) == 300
        and len(trace) == 200
    )

    def hit(one, header):
        def inside(prefix, address):
            return rulesets.network(address, prefix[1]) == prefix[0]

        return (
            inside(one.source, header[0])
            and inside(one.destination, header[1])
            and one.protocol in (None, header[4])
            and one.source_ports[0] <= header[2] <= one.source_ports[1]
            and one.destination_ports[0] <= header[3] <= one.destination_ports[1]
        )

    assert all(any(hit(one, header) for one in filters) for header in trace)


def test_flows_are_distinct_and_of_the_requested_number():
    filters = generate.generate("acl", 100, 1)
    dice = random.Random(1)
    trace = [rulesets.random_header(one, dice) for one in filters] * 2
    chosen = rulesets.flows(filters, trace, 500)
    assert len(chosen) == len(set(chosen)) == 500 and chosen[:10] == list(dict.fromkeys(trace))[:10]


def test_frame_of_flow_equals_that_of_scapy():
    from scapy.all import IP, TCP, UDP, Ether

    for size, header in (
        (64, (0x0A000001, 0xC0A8FFFE, 1234, 80, 6)),
        (1514, (1, 2, 3, 4, 17)),
        (64, (1, 2, 0, 0, 47)),
    ):
        data = traffic.frame(header, size)
        seen = Ether(data)
        assert (
            len(data) == size
            and seen[IP].len == size - 14
            and seen[IP].src == rulesets.dotted(header[0])
        )
        checksum = seen[IP].chksum
        del seen[IP].chksum
        assert Ether(bytes(seen))[IP].chksum == checksum
        for layer, protocol in ((TCP, 6), (UDP, 17)):
            if header[4] == protocol:
                assert (seen[layer].sport, seen[layer].dport) == header[2:4]


def test_policy_for_swaps_has_its_marks_and_size_and_distinct_rules():
    for count in swap.SIZES[:4]:
        first, second = swap.policy(count, "A"), swap.policy(count, "B")
        assert (
            len(first) == len(second) == count
            and first[4:] == second[4:]
            and not set(first[:4]) & set(second[:4])
        )
    assert len(set(swap.policy(10_000, "A"))) == 10_000


def test_attack_packets_hit_the_most_expensive_rules():
    filters = generate.generate("nest", 400, 3)
    source, destination = attack.deepest(filters)
    inside = sum(
        rulesets.network(source, one.source[1]) == one.source[0]
        and rulesets.network(destination, one.destination[1]) == one.destination[0]
        for one in filters
    )
    assert inside == 400
