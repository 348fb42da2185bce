# SPDX-License-Identifier: Apache-2.0
"""The goals of scripts/bench, and whether the measured figures meet them.

Each goal has one figure. A goal is left out if its part did not run, or ran for other rule sets or
rows. A goal whose part ran without giving the figure (for example without OVS) has the value None
and is not met.
"""

import dataclasses
from typing import Callable

from . import measure
from .parts import attack, classifier, idle, swap


@dataclasses.dataclass(frozen=True)
class Goal:
    name: str
    part: str
    bound: float
    at_most: bool  # Otherwise `bound` is the least.
    value: Callable  # Takes the results of the part. Returns None if it was not measured.
    command: str = ""  # Measures this goal alone. By default the part does.

    def text(self):
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g}"

    def met(self, value):
        return value is not None and (value <= self.bound if self.at_most else value >= self.bound)


def evaluate(goals, results, restricted=()):
    """Returns {name: {"value", "goal", "met", "command"}} for the parts that have results.
    `restricted` parts ran for chosen sets or rows; their goals without a figure are left out."""
    found = {}
    for goal in goals:
        if goal.part not in results:
            continue
        value = goal.value(results[goal.part])
        if value is None and goal.part in restricted:
            continue
        found[goal.name] = {
            "value": measure.rounded(value),
            "goal": goal.text(),
            "met": goal.met(value),
            "command": goal.command or f"scripts/bench {goal.part}",
        }
    return found


def _row(rules, flows, size, field):
    def value(results):
        for one in results:
            if (one["row"]["rules"], one["row"]["flows"], one["row"]["size"]) == (
                rules,
                flows,
                size,
            ):
                return one.get(field)
        return None

    return value


_CLASSIFIER = "scripts/bench classifier"
_FORWARD = "scripts/bench forward --rules {} --flows {} --size 64"

GOALS = [
    Goal(
        "vhost to vhost, 64 B, one rule: cycles / testpmd io",
        "forward",
        1.25,
        True,
        _row(1, 64, 64, "cycles_vs_testpmd"),
        _FORWARD.format(1, 64),
    ),
    Goal(
        "vhost to vhost, 64 B, one rule: OVS-DPDK's cycles / cycles",
        "forward",
        1.5,
        False,
        _row(1, 64, 64, "cycles_vs_ovs"),
        _FORWARD.format(1, 64),
    ),
    Goal(
        "vhost to vhost, 64 B, one rule: rate / OVS-DPDK's rate",
        "forward",
        1.5,
        False,
        _row(1, 64, 64, "rate_vs_ovs"),
        _FORWARD.format(1, 64),
    ),
    Goal(
        "vhost to vhost, 64 B, 10k rules, 8k flows: OVS-DPDK's cycles / cycles",
        "forward",
        3.0,
        False,
        _row(10000, 8192, 64, "cycles_vs_ovs"),
        _FORWARD.format(10000, 8192),
    ),
    *[
        Goal(
            f"classifier, {name} rules: cycles / rte_acl's, geometric mean",
            "classifier",
            bound,
            True,
            classifier.mean_ratio(size),
        )
        for name, size, bound in (("1k", 1000, 1.0), ("10k", 10_000, 0.7), ("100k", 100_000, 0.4))
    ],
    Goal(
        "classifier, 100k rules: cycles of the worst set",
        "classifier",
        500,
        True,
        classifier.worst(100_000),
    ),
    *[
        entry
        for name, kind, size, bound in (
            ("msk_100000", "masks", 100_000, 400),
            ("nest_20000", "nest", 20_000, 4000),
        )
        for entry in (
            Goal(
                f"{name}: cycles, at rest and under 100k updates a second",
                "classifier",
                bound,
                True,
                classifier.of_kind(kind, size, classifier.cycles),
                f"{_CLASSIFIER} {name}",
            ),
            Goal(
                f"{name}: bytes a rule",
                "classifier",
                256,
                True,
                classifier.of_kind(kind, size, lambda godwit: godwit["bytes_per_rule"]),
                f"{_CLASSIFIER} {name}",
            ),
        )
    ],
    Goal(
        "rule updates, 100k rules, the slowest set: millions a second",
        "classifier",
        3.0,
        False,
        classifier.updates_per_s,
    ),
    Goal(
        "rule updates, 100k rules: percent of lookups lost to a writer",
        "classifier",
        5.0,
        True,
        classifier.lookups_lost,
    ),
    Goal(
        "swap: from the commit until the first burst by it is out, 100,000 rules / 10 rules",
        "swap",
        2.0,
        True,
        swap.flatness("visible_us"),
    ),
    Goal(
        "swap: from the commit until a worker goes by it, 100,000 rules / 10 rules",
        "swap",
        2.0,
        True,
        swap.flatness("taken_us"),
    ),
    Goal("swap: packets lost", "swap", 0, True, swap.total("lost")),
    Goal("swap: packets torn", "swap", 0, True, swap.total("torn")),
    Goal(
        "idle: percent of a core",
        "idle",
        5.0,
        True,
        idle.of_mode("asleep", lambda one: one["core_percent"]),
    ),
    Goal(
        "idle, with an uplink that must be polled: percent of a core",
        "idle",
        5.0,
        True,
        idle.of_mode("polled uplink", lambda one: one["core_percent"]),
    ),
    *[
        Goal(
            f"idle: us that waking adds from guest to guest, {percentile}",
            "idle",
            100,
            True,
            idle.added_by_sleep(percentile),
        )
        for percentile in ("p50", "p99")
    ],
    Goal("attack: percent of a neighbour's rate lost", "attack", 10.0, True, attack.worst_loss),
]
