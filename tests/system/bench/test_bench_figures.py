# SPDX-License-Identifier: Apache-2.0
"""The figures of scripts/bench: the parsers, the medians, the goals and the report.

Nothing is measured.
"""
import sys

import pytest
from switch import REPO

sys.path.insert(0, str(REPO / "tests" / "bench"))

import instruction_counts  # noqa: E402
from runner import goals, guests, measure, plot, report, sets  # noqa: E402
from runner.parts import classifier, forward, idle, ports, scale  # noqa: E402
from runner.__main__ import PARTS  # noqa: E402
from runner.report import text_table  # noqa: E402
from runner.ovs import parse_pmd_stats  # noqa: E402
from runner.testpmd import parse_cycles_per_packet, parse_received  # noqa: E402

PMD_STATS = """\
pmd thread numa_id 0 core_id 1:
  packets received: 2000
  packet recirculations: 0
  avg. datapath passes per packet: 1.00
  phwol hits: 0
  mfex opt hits: 0
  simple match hits: 0
  emc hits: 100
  smc hits: 1800
  megaflow hits: 90
  avg. subtable lookups per megaflow hit: 90.50
  miss with success upcall: 10
  miss with failed upcall: 0
  avg. packets per output batch: 31.90
  idle cycles: 3000 (30.00%)
  processing cycles: 7000 (70.00%)
  avg cycles per packet: 5.00 (10000/2000)
  avg processing cycles per packet: 3.50 (7000/2000)
main thread:
  packets received: 7
  avg processing cycles per packet: 99.00 (693/7)
"""
PORT_STATS = """
  ######################## NIC statistics for port 0  ########################
  RX-packets: 11         RX-missed: 0          RX-bytes:  704
  TX-packets: 5          TX-errors: 0          TX-bytes:  320
  ############################################################################

  ######################## NIC statistics for port 12 ########################
  RX-packets: 4294967297 RX-missed: 0          RX-bytes:  704
"""


def test_ovs_figures_are_of_pmd_threads_and_busy_loops():
    found = parse_pmd_stats(PMD_STATS)
    assert (found["packets"], found["cycles"], found["busy_share"]) == (2000, 3.5, 70)
    assert (found["smc hits"], found["avg. subtable lookups per megaflow hit"]) == (1800, 90.5)
    assert (
        parse_pmd_stats("pmd thread numa_id 0 core_id 1:\n  packets received: 0\n")["cycles"]
        is None
    )


def test_testpmd_figures_are_found_for_each_port():
    assert parse_received(PORT_STATS) == {0: 11, 12: 4294967297}
    assert (
        parse_cycles_per_packet(
            "  CPU cycles/packet=210.50 (total cycles=421 / total RX packets=2) at 2450 MHz Clock\n"
        )
        == 210.5
    )
    assert parse_cycles_per_packet("no packets") is None


def test_ratio_is_the_median_of_ratios_within_rounds():
    # One disturbed round doubles both figures, which must not change the ratio. A round without a
    # peer does not count.
    rounds = [
        {"a": {"x": 10.0}, "b": {"x": 5.0}},
        {"a": {"x": 40.0}, "b": {"x": 20.0}},
        {"a": {"x": 33.0}, "b": {"x": 11.0}},
        {"a": {"x": 99.0}},
        {"a": {"x": 99.0}, "b": {"x": None}},
        {"a": {"x": 99.0}, "b": {"x": 0}},
    ]
    assert measure.ratio(rounds, "a", "b", "x") == 2.0
    assert measure.ratio(rounds, "a", "c", "x") is None
    assert measure.medians(rounds, "b") == {"x": 8.0}
    assert measure.median([]) is None and measure.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_goal_is_met_at_its_bound_and_never_without_figure():
    at_most = goals.Goal("a", "p", 2.0, True, lambda results: results["x"])
    at_least = goals.Goal("b", "p", 2.0, False, lambda results: results["x"], "scripts/bench p --y")
    other = goals.Goal("c", "not run", 2.0, False, lambda results: 1 / 0)
    for value, met in (
        (2.0, (True, True)),
        (1.9, (True, False)),
        (2.1, (False, True)),
        (None, (False, False)),
    ):
        found = goals.evaluate([at_most, at_least, other], {"p": {"x": value}})
        assert (found["a"]["met"], found["b"]["met"]) == met and set(found) == {"a", "b"}
    assert found["a"] == {
        "value": None,
        "goal": "at most 2",
        "met": False,
        "command": "scripts/bench p",
    }
    assert found["b"]["command"] == "scripts/bench p --y"
    # If a part was run for other rows, only the measured rows count.
    assert goals.evaluate([at_most], {"p": {"x": None}}, ["p"]) == {}
    assert goals.evaluate([at_most], {"p": {"x": 1.0}}, ["p"])["a"]["met"]


TEST_ACL = """\
rte_acl_build(1) finished with 0
acl context <TESTACL>@0x13f9c1280
search_ip5tuples  @lcore 1: 10 iterations, 89900 pkts, 1 categories, \
15731820 cycles (0.01 sec), 174.99 cycles/pkt, 14857785.05 pkt/sec
"""


def test_rte_acl_figures_are_found_and_its_failure_is_explained():
    found = classifier.parse_test_acl(TEST_ACL)
    assert (found["packets"], found["lookup_s"]) == (89900, 0.01) and found[
        "mean"
    ] == pytest.approx(174.99, abs=0.01)
    assert classifier.parse_test_acl("rte_acl_build(1) finished with -12\nacl context\n") is None
    assert "out of memory" in classifier.why_not(
        "rte_acl_build(1) finished with -12\nacl context\n"
    )
    assert (
        classifier.why_not("Cannot init EAL\n\n") == "Cannot init EAL"
        and classifier.why_not("") == "no output"
    )


def classified(name, mean, ratio, updates=4e6, disturbed=1.02, under=100.0, size=100_000):
    return {
        "set": name,
        "kind": sets.kind_of(name),
        "size": size,
        "rules": size,
        "ratio": ratio,
        "rte_acl": {"mean": mean / ratio} if ratio else {},
        "godwit": {
            "mean": mean,
            "p10": mean,
            "p50": mean,
            "p99": mean,
            "bytes_per_rule": 100.0,
            "build_s": 1.0,
            "updates_per_s": updates,
            "disturb": {"ratio": disturbed},
            "update_rates": [
                {"rate": rate, "mean": under, "updates_per_s": min(rate, 4e5)}
                for rate in classifier.UPDATE_RATES
            ],
        },
    }


def test_classifier_goals_cover_typical_and_hard_sets():
    results = [
        classified("acl1_100000", 100.0, 0.25),
        classified("fw1_100000", 400.0, 1.0, updates=2e6, disturbed=1.3),
        classified("ipc2_100000", 200.0, 0.5),
        classified("msk_100000", 300.0, 0.5, updates=1e5, under=350.0),
        classified("nest_20000", 9000.0, None, size=20_000),
        classified("acl1_1000", 50.0, None, size=1000),
    ]
    found = goals.evaluate(
        [one for one in goals.GOALS if one.part == "classifier"], {"classifier": results}
    )
    values = {name: one["value"] for name, one in found.items()}
    assert values["classifier, 100k rules: cycles / rte_acl's, geometric mean"] == 0.5
    assert values["classifier, 100k rules: cycles of the worst set"] == 400.0
    # If one set has no peer, a mean over the sets would be biased, so there is none.
    assert values["classifier, 1k rules: cycles / rte_acl's, geometric mean"] is None
    assert values["classifier, 10k rules: cycles / rte_acl's, geometric mean"] is None
    assert values["msk_100000: cycles, at rest and under 100k updates a second"] == 350.0
    assert values["nest_20000: cycles, at rest and under 100k updates a second"] == 9000.0
    assert values["rule updates, 100k rules, the slowest set: millions a second"] == 2.0
    assert values["rule updates, 100k rules: percent of lookups lost to a writer"] == pytest.approx(
        100 * (1 - 1 / 1.02), abs=0.01
    )
    for title, headings, lines in classifier.tables(results):
        assert all(len(line) == len(headings) for line in lines), title
        assert text_table(headings, lines)


def test_table_shows_missing_figure_as_dash():
    assert text_table(("a", "bb"), [(None, 1.234), ("x", 1234.5)]).splitlines() == [
        "a    bb",
        "-  1.23",
        "x  1234",
    ]


def test_counts_file_round_trips_and_names_every_part():
    counts = {
        (program, part, path): 1000 + n
        for n, (program, part, path) in enumerate(
            (program, part, path)
            for program, parts in instruction_counts.PARTS.items()
            for part in parts
            for path in instruction_counts.PATHS
        )
    }
    assert instruction_counts.read(instruction_counts.write("gcc 12.2.0", counts)) == (
        "gcc 12.2.0",
        counts,
    )
    made_by, kept = instruction_counts.read(instruction_counts.KEPT.read_text())
    assert set(kept) == set(counts) and made_by.startswith("gcc ") and all(kept.values())


def test_count_fails_if_slower_or_if_kept_count_is_outdated():
    key, other = ("fixed_classifier", "fixed_lookups", "any"), (
        "fixed_classifier",
        "fixed_lookups",
        "avx2",
    )
    for counted, wrong in (
        (1000, None),
        (1029, None),
        (1031, "slower"),
        (971, None),
        (969, "faster"),
    ):
        ((name, reason),) = instruction_counts.compare({key: 1000, other: 1000}, {key: counted})
        assert name == "fixed_classifier fixed_lookups any" and (
            reason is None if wrong is None else reason.startswith(wrong)
        ), counted
    assert "has no such count" in instruction_counts.compare({}, {key: 1})[0][1]
    assert (
        "nothing counted it"
        in instruction_counts.compare({key: 1, ("gone", "gone", "any"): 1}, {key: 1})[1][1]
    )
    assert instruction_counts.parse_count("==1== Collected : 17443479\n", "x") == 17443479
    for text in ("==1== Collected : 0\n", "nothing"):
        with pytest.raises(instruction_counts.CountError):
            instruction_counts.parse_count(text, "x")
    assert (
        instruction_counts.compiler_name("c++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright")
        == "gcc 12.2.0"
    )
    assert instruction_counts.compiler_name("Debian clang version 14.0.6\n") == "clang 14.0.6"


def swapped(rules, visible, lost=0, torn=0):
    spread = {"p50": visible, "p99": visible * 2, "max": visible * 3}
    times = {
        "publish_us": spread,
        "taken_us": {name: value / 10 for name, value in spread.items()},
        "visible_us": spread,
        "finish_us": spread,
    }
    return {
        "rules": rules,
        "program": {
            "rules": rules,
            "build_us": spread,
            "rewrite": times,
            "import": times,
            "packets": 100,
            "lost": lost,
            "torn": 0,
        },
        "daemon": {
            "swaps": 5,
            "sent": 100,
            "lost": 0,
            "torn": torn,
            "twice": 0,
            "unpoliced": 0,
            "milliseconds": {"export": 1.0, "rewrite": 1.0, "import": 1.0},
        },
    }


def rested(mode, percent, p50, p99):
    return {
        "mode": mode,
        "core_percent": percent,
        "sleeps_per_s": 100.0,
        "packets": 100,
        "latency_us": {"p50": p50, "p99": p99, "max": 900.0},
    }


def forwarded(rules, cycles, ovs=None):
    one = {
        "row": {"rules": rules, "flows": 8192, "size": 64},
        "cycles_vs_testpmd": 1.2,
        "rate_vs_testpmd": 0.9,
        "godwit": {"cycles": cycles, "mpps": 5.0, "limit": "switch"},
        "testpmd": {"cycles": 200.0, "mpps": 6.0, "limit": "generator"},
        "cycles_vs_ovs": ovs and ovs / cycles,
        "rate_vs_ovs": None,
    }
    return one | (
        {"ovs": {"cycles": ovs, "mpps": 2.0, "limit": "switch", "configuration": "SMC"}}
        if ovs
        else {}
    )


def attacked(kind, kept):
    turn = {"mpps": 4.0, "cycles": 500.0, "attacker_kpps": 100.0}
    return {
        "kind": kind,
        "victim": "v",
        "alone": turn,
        "one flow": turn,
        "attack": turn,
        "limit": "switch",
        "kept": kept,
        "kept_of_alone": kept,
        "one_flow_kept_of_alone": 1.0,
    }


RESULTS = {
    "classifier": [
        classified(f"acl1_{size}", 100.0, 0.3, size=size) for size in (1000, 10_000, 100_000)
    ],
    "forward": [
        {"row": {"rules": 1, "flows": 64, "size": 64}, "name": "n", "failed": "no memory"},
        forwarded(1, 250.0),
        forwarded(1000, 300.0, 900.0),
        forwarded(10_000, 350.0, 1400.0),
    ],
    "swap": [swapped(10, 10.0), swapped(1000, 9.0, torn=2), swapped(100_000, 15.0, lost=3)],
    "attack": [attacked("new flows", 0.97), attacked("masks", 0.92)],
    "ports": [
        {
            "ports": count,
            "cycles": 250.0,
            "mpps": 5.0,
            "limit": "switch",
            "cycles_ratio": 1.0,
            "rate_ratio": 1.0,
            "idle_core_percent": 0.5,
        }
        for count in ports.PORTS
    ],
    "idle": [
        rested("asleep", 0.6, 80.0, 170.0),
        rested("polled uplink", 12.0, 75.0, 90.0),
        rested("spinning", 100.0, 30.0, 60.0),
        rested("no switch", 9.0, 20.0, 40.0),
    ],
    "scale": {
        "workers": 2,
        "rows": [
            {
                "name": "one rule",
                "alone_per_second": 1e7,
                "together_per_second": 1.9e7,
                "scale": 1.9,
            }
        ],
    },
}


def test_goals_cover_every_row_and_depend_on_figures():
    found = goals.evaluate(goals.GOALS, RESULTS)
    assert set(RESULTS) == set(PARTS)
    assert {one.part for one in goals.GOALS} <= set(PARTS) and len(found) == len(goals.GOALS)
    for words in (
        "one rule: cycles",
        "10k rules, 8k flows",
        "1k rules: cycles",
        "100k rules: cycles of the worst",
        "msk_100000: cycles",
        "msk_100000: bytes",
        "nest_20000: cycles",
        "nest_20000: bytes",
        "rule updates, 100k rules, the slowest",
        "lookups lost",
        "the first burst by it",
        "a worker goes by it",
        "packets lost",
        "packets torn",
        "idle: percent",
        "waking adds from guest to guest, p50",
        "waking adds from guest to guest, p99",
        "neighbour's rate",
    ):
        assert sum(words in name for name in found) == 1, words
    assert all(
        set(one) == {"value", "goal", "met", "command"}
        and one["command"].startswith("scripts/bench ")
        for one in found.values()
    )

    def of(words):
        return next((one["value"], one["met"]) for name, one in found.items() if words in name)

    assert (
        of("the first burst by it") == (1.5, True)
        and of("a worker goes by it") == (1.5, True)
        and of("packets lost") == (3, False)
        and of("packets torn") == (2, False)
    )
    assert of("idle: percent") == (0.6, True) and of("must be polled") == (12.0, False)
    assert of("waking adds from guest to guest, p50") == (50.0, True) and of(
        "waking adds from guest to guest, p99"
    ) == (110.0, False)
    assert of("neighbour's rate") == (pytest.approx(8.0), True)
    assert of("msk_100000: bytes") == (None, False)  # not measured
    assert goals.evaluate(goals.GOALS, {"attack": [attacked("masks", None)]}) == {
        "attack: percent of a neighbour's rate lost": {
            "value": None,
            "goal": "at most 10",
            "met": False,
            "command": "scripts/bench attack",
        }
    }


def test_every_part_has_tables_markdown_and_svg_plots(tmp_path):
    import xml.etree.ElementTree as ElementTree

    document = {
        "quick": True,
        "seconds": 600.0,
        "without_ovs": None,
        "machine": {"cpus": 2, "cpu": "a CPU", "kernel": "6.1"},
        "parts": RESULTS,
        "goals": goals.evaluate(goals.GOALS, RESULTS),
        "failures": {"ports": "no reason"},
    }
    text = report.markdown(document, PARTS)
    for name, part in PARTS.items():
        assert f"### `scripts/bench {name}`" in text
        for title, headings, lines in part.tables(RESULTS[name]):
            assert lines and all(len(line) == len(headings) for line in lines), title
    assert "`scripts/bench ports` failed: no reason" in text and text.count("| ---") >= len(PARTS)
    drawn = {
        file: svg
        for name in PARTS
        for file, svg in getattr(PARTS[name], "plots", lambda _: [])(RESULTS[name])
    }
    assert set(drawn) == {"classifier.svg", "swap.svg", "forward.svg"}
    for svg in drawn.values():
        ElementTree.fromstring(svg)
    # A document with the markers keeps the text around them.
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write_markdown(page, text)
        assert page.read_text() == f"before\n{report.BEGIN}\n{text}{report.END}\nafter\n"
    report.write_markdown(tmp_path / "new.md", text)
    assert (tmp_path / "new.md").read_text() == text


def test_plot_places_points_and_omits_missing_figures():
    import re

    svg = plot.chart(
        "t <1>",
        "x",
        "y",
        [("a & b", [(10, 0), (100, 50), (1000, 100), (500, None)]), ("nothing", [(10, None)])],
    )
    assert "a &amp; b" in svg and "t &lt;1&gt;" in svg and "nothing" not in svg
    path = next(
        text for text in re.findall(r'<path d="M([^"]+)" fill="none" stroke="#0072b2"', svg)
    )
    places = [tuple(map(float, place.split())) for place in path.split("L")]
    assert (
        len(places) == 3
        and places[0][0] < places[1][0] < places[2][0]
        and places[0][1] > places[1][1] > places[2][1]
    )
    assert places[1][0] - places[0][0] == pytest.approx(
        places[2][0] - places[1][0], abs=0.2
    )  # decades are as wide
    with pytest.raises(ValueError, match="has no point"):
        plot.chart("t", "x", "y", [("a", [])])
    assert [plot.number(value) for value in (0.5, 20, 1000, 2e6)] == ["0.5", "20", "1k", "2M"]


def test_percentiles_are_taken_from_existing_values():
    values = list(range(1, 101))
    assert (
        measure.percentile(values, 50),
        measure.percentile(values, 99),
        measure.percentile([7], 99),
    ) == (51, 100, 7)
    assert measure.percentile([], 50) is None and measure.percentile([None, 3], 0) == 3


def test_numbered_frame_is_read_and_other_frame_refused():
    import struct

    data = bytes(44) + struct.pack("!IQq", 7, 123, 456789)
    assert guests.numbered(data) == (7, 123, 456789)
    with pytest.raises(Exception, match="without a number"):
        guests.numbered(bytes(20))
    assert (
        guests.mac(0x1234) == "02:00:00:00:12:34"
        and idle.of_mode("asleep", lambda one: 1)([]) is None
    )
    assert (
        scale.tables(RESULTS["scale"])[0][2][0][3] == 1.9
        and forward.limit({"cycles": 500.0, "mpps": 4.0}, 2.1e9) == "switch"
    )
