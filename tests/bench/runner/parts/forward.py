# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench forward`: vhost-user to vhost-user through one worker, beside testpmd `io` and
OVS-DPDK.

With one rule, testpmd's flowgen sends both ways, in flows that differ in the destination. With more
rules, packets that hit the rules of an access list go one way, and each is forwarded by the rule
that it hits. All contenders get the same packets and rules.

`Mpps` is the rate that the generator received. The generator is one core and may be the bottleneck.
`cycles` are busy cycles of the switch a packet: its cost, also when the generator is slower.
`limit` says which one was.
"""

import dataclasses

from .. import measure, ovs, plot, rulesets, switches, traffic
from ..sets import rule_set
from testbed.bed import TestbedError

RULES, FLOWS, SIZES = (1, 1000, 10000, 100000), (64, 8192, 65536, 1048576), (64, 1518)
QUICK = (
    (1, 64, 64),
    (1, 64, 1518),
    (1, 65536, 64),
    (1000, 8192, 64),
    (10000, 64, 64),
    (10000, 8192, 64),
    (100000, 8192, 64),
)
# The switch waited for packets if its busy cycles a second are below this share of the clock rate.
_SWITCH_BOUND = 0.9


@dataclasses.dataclass(frozen=True)
class Row:
    rules: int
    flows: int
    size: int

    def name(self):
        return f"{self.rules} rules, {self.flows} flows, {self.size} B"


def rows(context):
    chosen = QUICK if context.quick else [(r, f, s) for s in SIZES for r in RULES for f in FLOWS]
    keep = [(context.options.rules, 0), (context.options.flows, 1), (context.options.size, 2)]
    if any(wanted for wanted, _ in keep):
        chosen = [
            (r, f, s)
            for s in context.options.size or (64,)
            for r in context.options.rules or (1,)
            for f in context.options.flows or (64,)
        ]
    return [Row(*one) for one in chosen]


def run(context):
    """Returns a list of results, one for each row. A row that could not be measured has its reason
    in "failed". Raises TestbedError if all rows failed."""
    results = []
    for row in rows(context):
        try:
            with context.scope() as bed:
                result = measure_row(context, bed, row)
        except TestbedError as error:
            result = {"row": dataclasses.asdict(row), "name": row.name(), "failed": str(error)}
        results.append(result)
        context.say(describe(result))
    if all("failed" in one for one in results):
        raise TestbedError(results[0]["failed"])
    return results


def hugepages(context):
    """Returns the number of hugepages of 2 MB for the largest row: three generators with their
    flows, and three switches."""

    def megabytes(row):
        generator = (
            traffic.flowgen_mb() if row.rules == 1 else traffic.given_flows_mb(row.flows, row.size)
        )
        return 3 * generator + 128 + 256 + 512

    return max(megabytes(row) for row in rows(context)) // 2 + 64


class Traffic:
    """The packets and rules of a row, for each contender."""

    def __init__(self, context, row):
        self._row = row
        if row.rules == 1:
            self.set, self._headers = None, None
            towards = (
                "flow create {} ingress pattern eth / end "
                "actions represented_port ethdev_port_id {} / end"
            )
            self.godwit = [
                towards.format(switches.OWNER, switches.PEER),
                towards.format(switches.PEER, switches.OWNER),
            ]
            self.ovs = ["in_port=1,actions=output:2", "in_port=2,actions=output:1"]
        else:
            self.set, filters, trace = rule_set(context, "acl", row.rules)
            self._headers = rulesets.flows(filters, trace, row.flows)
            self.godwit = rulesets.godwit_rules(filters, switches.OWNER, switches.PEER)
            self.ovs = rulesets.ovs_flows(filters, 1, 2)

    def generator(self, bed, name):
        if self._headers is None:
            return traffic.flowgen(bed, name, self._row.flows, self._row.size)
        return traffic.given_flows(bed, name, self._headers, self._row.size)


def measure_row(context, bed, row):
    offered = Traffic(context, row)
    contenders, skipped = {}, {}

    def begin(make, name, *start):
        generator = offered.generator(bed, f"gen-{name}")
        generator.wait_listening()
        contender = make(bed, generator).start(*start)
        contender.wait_traffic()
        contender.halt()
        contenders[name] = contender

    begin(switches.Godwit, "godwit", context.godwitd, offered.godwit)
    begin(switches.TestpmdFloor, "testpmd")
    if context.ovs_missing:
        skipped["ovs"] = context.ovs_missing
    else:
        begin(switches.Ovs, "ovs", offered.ovs)
        tried = best_configuration(context, contenders["ovs"])
    rounds = []
    for _ in range(context.rounds):
        rounds.append({name: one.sample(context.seconds) for name, one in contenders.items()})
    result = {
        "row": dataclasses.asdict(row),
        "name": row.name(),
        "set": offered.set,
        "skipped": skipped,
        "rounds": rounds,
        "cycles_vs_testpmd": measure.ratio(rounds, "godwit", "testpmd", "cycles"),
        "rate_vs_testpmd": measure.ratio(rounds, "godwit", "testpmd", "mpps"),
        "cycles_vs_ovs": measure.ratio(rounds, "ovs", "godwit", "cycles"),
        "rate_vs_ovs": measure.ratio(rounds, "godwit", "ovs", "mpps"),
    }
    clock_hz = contenders["godwit"].clock_hz
    for name in contenders:
        result[name] = measure.medians(rounds, name)
        result[name]["limit"] = limit(result[name], clock_hz)
    if "ovs" in contenders:
        result["ovs"]["configuration"], result["ovs"]["tried_cycles"] = tried
    return result


def limit(figures, clock_hz):
    """Returns the bottleneck: "switch" or "generator"."""
    return (
        "switch"
        if (figures["cycles"] or 0) * figures["mpps"] * 1e6 >= _SWITCH_BOUND * clock_hz
        else "generator"
    )


def best_configuration(context, contender):
    """Selects the configuration with the fewest cycles. Returns (its name, {name: cycles})."""
    tried = {}
    for name, values in ovs.CONFIGURATIONS.items():
        contender.switch.process.resume()
        contender.switch.configure(values)
        tried[name] = contender.sample(context.seconds)["cycles"]
    best = min(tried, key=lambda name: tried[name] or float("inf"))
    contender.switch.process.resume()
    contender.switch.configure(ovs.CONFIGURATIONS[best])
    contender.sample(0.2)
    return best, tried


def describe(result):
    if "failed" in result:
        return f"{result['name']}: failed: {result['failed']}"
    parts = [f"{result['name']}:"]
    for name in ("godwit", "testpmd", "ovs"):
        if name in result:
            parts.append(
                f"{name} {result[name]['cycles']:.0f} cycles, {result[name]['mpps']:.2f} Mpps;"
            )
    return " ".join(parts)


HEADINGS = (
    "rules",
    "flows",
    "B",
    "godwit cyc",
    "Mpps",
    "limit",
    "testpmd cyc",
    "Mpps",
    "limit",
    "OVS cyc",
    "Mpps",
    "limit",
    "OVS by",
    "cyc /testpmd",
    "OVS cyc/",
    "rate /OVS",
)


def tables(results):
    lines = []
    for one in results:
        row = one["row"]
        cells = [row["rules"], row["flows"], row["size"]]
        if "failed" in one:
            lines.append(cells + ["failed"] + ["-"] * (len(HEADINGS) - len(cells) - 1))
            continue
        for name in ("godwit", "testpmd", "ovs"):
            figures = one.get(name)
            cells += (
                [figures["cycles"], figures["mpps"], figures["limit"]]
                if figures
                else ["-", "-", "-"]
            )
        cells += [
            one["ovs"]["configuration"] if "ovs" in one else "-",
            one["cycles_vs_testpmd"],
            one["cycles_vs_ovs"],
            one["rate_vs_ovs"],
        ]
        lines.append(cells)
    return [("vhost-user to vhost-user, one worker", HEADINGS, lines)]


def plots(results):
    """Returns cycles against rules, if several numbers of rules were measured with the same flows
    and frames."""
    flows, size = max(
        {(one["row"]["flows"], one["row"]["size"]) for one in results},
        key=lambda kind: sum((one["row"]["flows"], one["row"]["size"]) == kind for one in results),
    )
    these = [one for one in results if (one["row"]["flows"], one["row"]["size"]) == (flows, size)]
    if len(these) < 2:
        return []
    return [
        (
            "forward.svg",
            plot.chart(
                "vhost-user to vhost-user: cycles a packet",
                "rules",
                "busy cycles a packet",
                [
                    (
                        label,
                        [
                            (one["row"]["rules"], one[name]["cycles"])
                            for one in these
                            if name in one
                        ],
                    )
                    for name, label in (
                        ("godwit", "Godwit"),
                        ("testpmd", "testpmd io, no rules"),
                        ("ovs", "OVS-DPDK"),
                    )
                ],
                log_y=True,
                note=f"{flows} flows, {size} B, one worker",
            ),
        )
    ]
