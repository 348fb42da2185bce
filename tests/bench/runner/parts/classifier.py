# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench classifier [SET...]`: the classifier without flow cache, beside rte_acl on the
same files.

Lookups are in batches of 32 on one CPU. A round measures Godwit (tests/bench/classifier_bench.cc)
and then `dpdk-test-acl`, each in a new process that loads the set. The ratio is the median over
rounds. classifier_bench alone measures updates and their effect on lookups, once for each set:
rte_acl has no updates and must be built again.
"""

import json
import os
import re
import shutil
import subprocess

from .. import measure, plot, rulesets, sets
from testbed.bed import TestbedError

TEST_ACL = "dpdk-test-acl"
CPU = 1
UPDATE_RATES = (0, 1000, 100_000, 1_000_000)
_PAIRS = 20
# rte_acl takes up to 20 s to build 100,000 rules, and longer for some sets. Without a limit it
# takes all memory of the machine.
_ACL_TIMEOUT_S = 120
_ACL_MEMORY_MB = 4096


def run(context):
    """Returns a list of results, one for each set."""
    chosen = [sets.named_set(context, word) for word in context.set_names] or sets.standard_sets(
        context
    )
    results = []
    for directory, name in chosen:
        results.append(measure_set(context, directory, name))
        context.say(describe(results[-1]))
    return results


def measure_set(context, directory, name):
    result = {
        "set": name,
        "kind": sets.kind_of(name),
        "size": sets.size_of(name),
        "made_by_seed": directory == context.scratch,
    }
    whole = bench(
        context,
        directory,
        name,
        [
            "--updates",
            "200000",
            "--disturb",
            str(_PAIRS),
            "--seconds",
            f"{0.05 if context.quick else 0.2}",
            "--update-rates",
            ",".join(map(str, UPDATE_RATES)),
        ],
    )
    with context.scope() as bed:
        peer = Peer(bed, directory, name)
        rounds, skipped = [], None
        for number in range(rounds_of(context, result["size"])):
            one = {"godwit": bench(context, directory, name, ["--lookups-only"], cpu=CPU)}
            if not skipped:
                try:
                    one["rte_acl"] = peer.sample(context.quick)
                except TestbedError as error:
                    skipped = str(error)
                    context.say(f"{name}: without rte_acl: {error}")
            rounds.append(one)
    godwit = dict(
        whole,
        **{
            field: value
            for field, value in measure.medians(rounds, "godwit").items()
            if field in ("mean", "p10", "p50", "p99", "quiet_p50", "build_s")
        },
    )
    return dict(
        result,
        rules=godwit["rules"],
        godwit=godwit,
        rte_acl=measure.medians(rounds, "rte_acl"),
        skipped=skipped,
        ratio=measure.ratio(rounds, "godwit", "rte_acl", "mean"),
        rounds=[{who: figures["mean"] for who, figures in one.items()} for one in rounds],
    )


def rounds_of(context, size):
    """Returns the number of rounds. With 100,000 rules, building rte_acl takes most of a round."""
    return min(context.rounds, 2 if size >= 50_000 else 5) if context.quick else context.rounds


def bench(context, directory, name, options, cpu=None):
    """Returns the figures of classifier_bench for one set."""
    command = [context.tool("classifier_bench"), *options, "--json", "-", directory, name]
    if cpu is not None:
        command = ["taskset", "--cpu-list", str(cpu), *command]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    if done.returncode != 0:
        raise TestbedError(
            f"classifier_bench {name}: exit code {done.returncode}: {done.stderr[-500:]}"
        )
    return json.loads(done.stdout)["sets"][name]


class Peer:
    """dpdk-test-acl, with the set in files that are removed with `bed`."""

    def __init__(self, bed, directory, name):
        self._rules, self._trace = bed.path(name, "rules"), bed.path(name, "trace")
        self._count = 0
        for path, suffix in ((self._rules, ""), (self._trace, "_trace")):
            with rulesets.open_text(rulesets.find(directory, name + suffix)) as source, open(
                path, "w"
            ) as file:
                shutil.copyfileobj(source, file)
        with open(self._trace) as file:
            self._count = sum(1 for _ in file)

    def sample(self, quick):
        """Returns {"mean": cycles a lookup, "lookup_s", "packets"}. Raises TestbedError if rte_acl
        cannot take the set."""
        if shutil.which(TEST_ACL) is None:
            raise TestbedError(f"{TEST_ACL} is missing; Debian has it in dpdk-dev")
        iterations = max(3, (400_000 if quick else 1_500_000) // max(1, self._count))
        command = [
            "taskset",
            "--cpu-list",
            str(CPU),
            TEST_ACL,
            "--no-huge",
            "--no-pci",
            "--no-shconf",
            "--no-telemetry",
            "-l",
            str(CPU),
            "-m",
            str(_ACL_MEMORY_MB),
            "--",
            f"--rulesf={self._rules}",
            f"--tracef={self._trace}",
            "--rulenum=2000000",
            f"--tracenum={self._count}",
            "--tracestep=32",
            "--bldcat=1",
            "--runcat=1",
            f"--iter={iterations}",
            "--verbose=0",
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_ACL_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise TestbedError(f"still running after {_ACL_TIMEOUT_S} s") from None
        found = parse_test_acl(done.stdout)
        if found is None:
            raise TestbedError(f"exit code {done.returncode}: {why_not(done.stdout)}")
        return found


def parse_test_acl(text):
    """Parses the last line of dpdk-test-acl. Returns {"mean": cycles a packet, "lookup_s",
    "packets"}, or None if the line is missing."""
    found = re.search(
        r"(\d+) pkts, \d+ categories, (\d+) cycles \(([\d.]+) sec\), ([\d.]+) cycles/pkt", text
    )
    if not found or int(found.group(1)) == 0:
        return None
    return {
        "mean": int(found.group(2)) / int(found.group(1)),
        "packets": int(found.group(1)),
        "lookup_s": float(found.group(3)),
    }


def why_not(text):
    """Returns the reason from the output of a dpdk-test-acl that gave up. -12 is ENOMEM."""
    built = re.search(r"rte_acl_build\(\d+\) finished with (-\d+)", text)
    if built:
        return (
            "rte_acl runs out of memory when it builds this set"
            if built.group(1) == "-12"
            else built.group(0)
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def describe(result):
    godwit, peer = result["godwit"], result["rte_acl"]
    against = f"rte_acl {peer['mean']:.0f} (x {result['ratio']:.2f})" if peer else "rte_acl: none"
    return (
        f"{result['set']}: {godwit['mean']:.0f} cycles, {against}; "
        f"{godwit['bytes_per_rule']:.0f} B a rule; "
        f"{godwit['updates_per_s'] / 1e6:.2f} M updates/s, "
        f"which cost lookups x {godwit['disturb']['ratio']:.3f}"
    )


def means(results):
    """Returns [{"size", "sets", "godwit", "rte_acl", "ratio", "worst"}]: geometric means over the
    access lists, firewalls and chains of each size. The ratio is the geometric mean of the ratios
    of the sets, if rte_acl took all of them."""
    found = []
    for size in sorted({one["size"] for one in results if one["kind"] in sets.MIXED}):
        these = [one for one in results if one["size"] == size and one["kind"] in sets.MIXED]
        ratios = [one["ratio"] for one in these]
        found.append(
            {
                "size": size,
                "sets": [one["set"] for one in these],
                "godwit": measure.geometric_mean([one["godwit"]["mean"] for one in these]),
                "rte_acl": measure.geometric_mean([one["rte_acl"].get("mean") for one in these]),
                "ratio": measure.geometric_mean(ratios) if None not in ratios else None,
                "worst": max(one["godwit"]["mean"] for one in these),
            }
        )
    return found


# The figures for the goals.


def mean_ratio(size):
    return lambda results: next(
        (one["ratio"] for one in means(results) if one["size"] == size), None
    )


def worst(size):
    return lambda results: next(
        (one["worst"] for one in means(results) if one["size"] == size), None
    )


def of_kind(kind, size, figure):
    """Returns a function for a goal: the most expensive of the sets of a kind and size."""

    def value(results):
        found = [
            figure(one["godwit"]) for one in results if (one["kind"], one["size"]) == (kind, size)
        ]
        return max(found) if found else None

    return value


def cycles(godwit):
    """Returns the larger of the cycles at rest and under 100,000 updates a second."""
    return max(
        godwit["mean"], *[one["mean"] for one in godwit["update_rates"] if one["rate"] == 100_000]
    )


def updates_per_s(results):
    """Returns millions of updates a second of the slowest mixed set of 100,000 rules."""
    found = [
        one["godwit"]["updates_per_s"]
        for one in results
        if one["size"] == 100_000 and one["kind"] in sets.MIXED
    ]
    return min(found) / 1e6 if found else None


def lookups_lost(results):
    """Returns the percentage of the lookup rate that a writer in the same table costs beyond a
    writer in another one. It is the median of the mixed sets of 100,000 rules."""
    found = [
        one["godwit"]["disturb"]["ratio"]
        for one in results
        if one["size"] == 100_000 and one["kind"] in sets.MIXED
    ]
    return 100 * (1 - 1 / measure.median(found)) if found else None


HEADINGS = (
    "set",
    "rules",
    "cycles",
    "p10",
    "p50",
    "p99",
    "rte_acl",
    "x rte_acl",
    "B/rule",
    "build s",
    "M upd/s",
    "disturbed x",
)
RATE_HEADINGS = (
    "set",
    *[f"{rate} upd/s" if rate < 1000 else f"{rate // 1000}k upd/s" for rate in UPDATE_RATES],
)
MEAN_HEADINGS = ("rules", "sets", "cycles", "rte_acl", "x rte_acl", "worst set")


def tables(results):
    whole, rates = [], []
    for one in results:
        godwit = one["godwit"]
        whole.append(
            [
                one["set"],
                int(one["rules"]),
                godwit["mean"],
                godwit["p10"],
                godwit["p50"],
                godwit["p99"],
                one["rte_acl"].get("mean"),
                one["ratio"],
                godwit["bytes_per_rule"],
                godwit["build_s"],
                godwit["updates_per_s"] / 1e6,
                f"{godwit['disturb']['ratio']:.3f}",
            ]
        )
        rates.append(
            [
                one["set"],
                *[f"{under['mean']:.0f}" + missed(under) for under in godwit["update_rates"]],
            ]
        )
    return [
        ("classifier, cycles a lookup without a flow cache", HEADINGS, whole),
        (
            "classifier, cycles a lookup under updates (in brackets: the updates a second reached)",
            RATE_HEADINGS,
            rates,
        ),
        (
            "classifier, geometric means",
            MEAN_HEADINGS,
            [
                [
                    one["size"],
                    len(one["sets"]),
                    one["godwit"],
                    one["rte_acl"],
                    one["ratio"],
                    one["worst"],
                ]
                for one in means(results)
            ],
        ),
    ]


def plots(results):
    found = means(results)
    if not found:
        return []
    names = sorted({name.rsplit("_", 1)[0] for one in found for name in one["sets"]})
    return [
        (
            "classifier.svg",
            plot.chart(
                "The classifier alone: cycles a lookup",
                "rules",
                "cycles a lookup",
                [
                    ("Godwit", [(one["size"], one["godwit"]) for one in found]),
                    ("rte_acl", [(one["size"], one["rte_acl"]) for one in found]),
                    ("Godwit, worst set", [(one["size"], one["worst"]) for one in found]),
                ],
                note=f"geometric means over {', '.join(names)}; batches of 32, no flow cache",
            ),
        )
    ]


def missed(under):
    return (
        f" ({under['updates_per_s'] / 1e6:.2f}M)"
        if under["updates_per_s"] < 0.9 * under["rate"]
        else ""
    )
