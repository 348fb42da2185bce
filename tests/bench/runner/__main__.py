# SPDX-License-Identifier: Apache-2.0
"""Runs the parts of scripts/bench, which has installed and built what they need. Prints tables and
goals; writes JSON, Markdown and plots."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time

from . import goals, measure, ovs, report, sets
from .parts import attack, classifier, forward, idle, ports, scale, swap
from testbed.bed import Testbed, TestbedError

# parts/__init__.py says what each module has.
PARTS = {
    "classifier": classifier,
    "forward": forward,
    "swap": swap,
    "attack": attack,
    "ports": ports,
    "idle": idle,
    "scale": scale,
}
# Of 2 MB each. Parts other than forward run three generators with a switch each at most.
_HUGEPAGES = 800


class Context:
    """Options and tools of one run, for the parts."""

    def __init__(self, arguments, scratch, log):
        self.options = arguments
        self.quick = arguments.quick
        self.build = arguments.build
        self.rulesets = arguments.rulesets
        self.set_names = arguments.sets
        self.scratch = scratch
        self.rounds = arguments.rounds or (5 if arguments.quick else 9)
        self.seconds = 0.8 if arguments.quick else 1.5
        self.ovs_missing = "left out by --no-ovs" if arguments.no_ovs else ovs.missing()
        self.say = log

    @contextlib.contextmanager
    def scope(self):
        """Opens a Testbed whose processes end with the scope."""
        with Testbed(keep_logs=self.options.keep_logs, log=self.say) as bed:
            yield bed

    @property
    def godwitd(self):
        return self.built("control", "godwitd")

    def tool(self, name):
        """Returns the path of a program of tests/bench."""
        return self.built("tests", "bench", name)

    def built(self, *path):
        """Returns the path of a program of the build directory. Raises TestbedError if it is not
        built."""
        whole = os.path.join(self.build, *path)
        if not os.access(whole, os.X_OK):
            raise TestbedError(f"{whole} is not built")
        return whole


def main():
    arguments = parse_arguments()
    started = time.monotonic()

    def log(text):
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    results, failures = {}, {}
    with Testbed(log=log) as bed:
        context = Context(arguments, os.path.dirname(bed.path("sets", "x")), log)
        if arguments.parts != ["classifier"]:
            reserve_hugepages(
                bed,
                arguments.setup,
                max(_HUGEPAGES, forward.hugepages(context) if "forward" in arguments.parts else 0),
            )
        if context.ovs_missing:
            log(f"without OVS-DPDK: {context.ovs_missing}")
        for name in arguments.parts:
            log(f"== {name}")
            try:
                results[name] = PARTS[name].run(context)
            except (TestbedError, OSError, subprocess.SubprocessError) as error:
                failures[name] = str(error)
                log(f"{name} failed: {error}")
        for name in results:
            for title, headings, lines in PARTS[name].tables(results[name]):
                print(f"\n{title}\n{report.text_table(headings, lines)}", flush=True)
        restricted = [
            name
            for name, limits in (
                ("classifier", arguments.sets),
                ("forward", arguments.rules or arguments.flows or arguments.size),
            )
            if limits
        ]
        found = goals.evaluate(goals.GOALS, results, restricted)
        if found:
            print(f"\ngoals\n{report.text_table(*report.goals_table(found))}\n")
        for name, reason in failures.items():
            print(f"FAILED {name}: {reason}")
        took = time.monotonic() - started
        print(f"took {took:.0f} s")
        document = {
            "quick": arguments.quick,
            "seconds": took,
            "without_ovs": context.ovs_missing,
            "machine": machine(),
            "parts": measure.rounded(results),
            "goals": found,
            "failures": failures,
        }
        write(arguments, document)
    return 1 if failures else 0


def write(arguments, document):
    """Writes the files that the options name."""
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
    if arguments.markdown:
        report.write_markdown(arguments.markdown, report.markdown(document, PARTS))
    if arguments.plots:
        os.makedirs(arguments.plots, exist_ok=True)
        for name, results in document["parts"].items():
            for file_name, svg in getattr(PARTS[name], "plots", lambda _: [])(results):
                with open(os.path.join(arguments.plots, file_name), "w") as file:
                    file.write(svg)


def reserve_hugepages(bed, setup, count):
    """Reserves `count` hugepages, or _HUGEPAGES if there is no room for more. They are released
    with `bed`."""
    record = ["--hugepages-record", bed.path("hugepages.before")]
    quiet = ["--no-packages", "--no-guest"]
    bed.callback(
        lambda: subprocess.run(
            [setup, *quiet, "--restore-hugepages", *record], stdin=subprocess.DEVNULL
        )
    )
    for wanted in sorted({count, _HUGEPAGES}, reverse=True):
        if (
            subprocess.run(
                [setup, *quiet, "--hugepages", str(wanted), *record], stdin=subprocess.DEVNULL
            ).returncode
            == 0
        ):
            return
        bed.log(f"fewer than {wanted} hugepages are free: parts that need more will fail")


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return {
        "cpu": models[0] if models else "unknown",
        "cpus": len(models),
        "kernel": os.uname().release,
    }


def number_list(text):
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers separated by commas, got '{text}'"
        ) from None


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="PART|SET",
        help=f"{', '.join(PARTS)}, default: all; sets are for classifier",
    )
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--setup", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--plots", metavar="DIR")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rulesets", required=True, metavar="DIR")
    parser.add_argument("--keep-logs", metavar="DIR")
    parser.add_argument("--no-ovs", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--rules", type=number_list)
    parser.add_argument("--flows", type=number_list)
    parser.add_argument("--size", type=number_list)
    arguments = parser.parse_args()
    arguments.parts = [word for word in PARTS if word in arguments.words] or list(PARTS)
    arguments.sets = [word for word in arguments.words if word not in PARTS]
    unknown = [
        reason
        for reason in (sets.unknown_set(arguments.rulesets, word) for word in arguments.sets)
        if reason
    ]
    if unknown:
        parser.error(f"{unknown[0]}; parts: {', '.join(PARTS)}")
    if arguments.sets and "classifier" not in arguments.words:
        parser.error(
            f"{arguments.sets[0]} is a rule set, which only the part classifier takes: "
            f"scripts/bench classifier {arguments.sets[0]}"
        )
    if set(arguments.size or ()) - {64, 1518}:
        parser.error("--size: 64 or 1518")
    if os.geteuid() != 0:
        parser.error("hugepages and vhost-user need root")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
