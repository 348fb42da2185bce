#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions of the classifier and the pipeline on fixed input, and compares them with
instruction_counts.txt.

    scripts/test counts                               compares; this is the usual way
    tests/bench/instruction_counts.py BUILD --renew   writes the file again, if a change is intended

BUILD is a debugoptimized build; scripts/test has one in build/test. valgrind's callgrind counts
each part of fixed_classifier and fixed_pipeline alone, on both code paths: the one for any CPU and
the one for AVX2. The latter is left out on a CPU without AVX2. Valgrind shows no later extensions
to the program.

The counts are the same on every machine, but not for every compiler. With another compiler than the
file's, nothing is compared.

A count more than TOLERANCE above the kept one fails, because a path has become slower. A count as
much below fails too, because the kept one would let the next slower change pass.
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

KEPT = Path(__file__).resolve().parent / "instruction_counts.txt"
TOLERANCE = 0.03
# The number of units of each part. The file shows instructions a unit for readers.
PARTS = {
    "fixed_classifier": {
        "fixed_build": 1000,
        "fixed_inserts": 1000,
        "fixed_lookups": 20000,
        "fixed_single_lookups": 20000,
        "fixed_updates": 1000,
    },
    "fixed_pipeline": {
        name: 64000
        for name in (
            "fixed_one_rule",
            "fixed_flows",
            "fixed_egress",
            "fixed_normal",
            "fixed_misses",
        )
    },
}
PATHS = ("any", "avx2")
RENEW = "tests/bench/instruction_counts.py build/test --renew"
HEADER = f"""\
# Instructions of a debugoptimized build for fixed input.
# scripts/test allows a change of {TOLERANCE:.0%}.
# A commit that is meant to change them renews this file:
#   {RENEW}
# path: any CPU, or a CPU with AVX2. unit: a rule, a lookup, an update, a packet.
"""


class CountError(Exception):
    """A count cannot be made. The message says why."""


def has_avx2(cpuinfo="/proc/cpuinfo"):
    with open(cpuinfo) as file:
        return any(line.startswith("flags") and "avx2" in line.split() for line in file)


def compiler(build):
    """Returns the compiler of a debugoptimized build directory, such as "gcc 12.2.0". Raises
    CountError."""
    info = Path(build) / "meson-info"
    try:
        options = {
            one["name"]: one["value"]
            for one in json.loads((info / "intro-buildoptions.json").read_text())
        }
        targets = json.loads((info / "intro-targets.json").read_text())
    except (OSError, ValueError) as error:
        raise CountError(f"{build} is not a build directory: {error}") from None
    if options["buildtype"] != "debugoptimized":
        raise CountError(
            f"{build} is a {options['buildtype']} build; counts need a debugoptimized one"
        )
    command = next(
        source["compiler"]
        for target in targets
        for source in target["target_sources"]
        if source.get("language") == "cpp"
    )
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return compiler_name(done.stdout)


def compiler_name(version):
    """Returns the name in the output of --version, without the distribution's revision."""
    first = version.partition("\n")[0]
    clang = re.search(r"clang version ([\d.]+)", first)
    return (
        f"clang {clang.group(1)}" if clang else f"gcc {first.split()[-1] if first else 'unknown'}"
    )


def count(build, program, part, path):
    """Returns the instructions of one part."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--toggle-collect={part}",
            f"--callgrind-out-file={scratch}/out",
            str(Path(build) / "tests" / "bench" / program),
            *(["--portable"] if path == "any" else []),
        ]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
            )
        except subprocess.TimeoutExpired:
            raise CountError(f"{program} {part}: still running after 300 s") from None
        except FileNotFoundError:
            raise CountError("valgrind is not installed (scripts/setup)") from None
    if done.returncode != 0:
        raise CountError(f"{program} {part}: exit code {done.returncode}: {done.stderr[-300:]}")
    return parse_count(done.stderr, f"{program} {part}")


def parse_count(text, what):
    found = re.search(r"Collected : (\d+)", text)
    if not found or int(found.group(1)) == 0:
        raise CountError(f"{what}: callgrind counted no instruction")
    return int(found.group(1))


def count_all(build, paths, threads=None):
    """Returns {(program, part, path): instructions}."""
    wanted = [
        (program, part, path)
        for program, parts in PARTS.items()
        for part in parts
        for path in paths
    ]
    with concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return dict(zip(wanted, pool.map(lambda one: count(build, *one), wanted)))


def read(text):
    """Parses the kept file. Returns (compiler, {(program, part, path): instructions})."""
    kept, made_by = {}, None
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["#", "compiler:"]:
            made_by = " ".join(words[2:])
        elif words and not line.startswith("#"):
            kept[tuple(words[:3])] = int(words[3])
    return made_by, kept


def write(made_by, counts):
    lines = [
        f"# compiler: {made_by}",
        f"# {'program':16} {'part':22} {'path':5} {'instructions':>12} {'a unit':>9}",
    ]
    for (program, part, path), instructions in counts.items():
        lines.append(
            f"{program:18} {part:22} {path:5} {instructions:12} "
            f"{instructions / PARTS[program][part]:9.1f}"
        )
    return HEADER + "\n".join(lines) + "\n"


def compare(kept, counts):
    """Returns [(name, what is wrong or None)] for each count that was made, and for each that is
    kept on a path that was counted."""
    paths = {path for _, _, path in counts}
    results = []
    for key in list(counts) + [key for key in kept if key not in counts and key[2] in paths]:
        name = " ".join(key)
        if key not in kept:
            results.append((name, f"the file has no such count; {RENEW}"))
        elif key not in counts:
            results.append((name, f"the file has this count, but nothing counted it; {RENEW}"))
        else:
            change = counts[key] / kept[key] - 1
            said = f"{counts[key]:,} instructions, {change:+.1%} of the {kept[key]:,} kept"
            wrong = None
            if change > TOLERANCE:
                wrong = f"slower: {said}; if that is intended, {RENEW}"
            elif change < -TOLERANCE:
                wrong = f"faster: {said}; keep it: {RENEW}"
            results.append((name, wrong))
    return results


def check(build, add):
    """Calls add(name, outcome, reason) for each count. scripts/test uses it."""
    made_by, kept = read(KEPT.read_text())
    try:
        here = compiler(build)
    except CountError as error:
        add("counts", "failed", str(error))
        return
    if here != made_by:
        add("counts", "skipped", f"cannot run here: the counts are of {made_by}, this is {here}")
        return
    paths = [path for path in PATHS if path != "avx2" or has_avx2()]
    try:
        results = compare(kept, count_all(build, paths))
    except CountError as error:
        add("counts", "failed", str(error))
        return
    for name, wrong in results:
        add(f"counts {name}", "failed" if wrong else "passed", wrong or "")
    if len(paths) < len(PATHS):
        add("counts avx2", "skipped", "cannot run here: no AVX2")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build")
    parser.add_argument("--renew", action="store_true")
    arguments = parser.parse_args()
    try:
        if not has_avx2():
            parser.error("counting both paths needs a CPU with AVX2")
        made_by, counts = compiler(arguments.build), count_all(arguments.build, PATHS)
    except CountError as error:
        parser.error(str(error))
    if arguments.renew:
        KEPT.write_text(write(made_by, counts))
    print(write(made_by, counts), end="")
    if not arguments.renew:
        wrong = [
            f"{name}: {reason}"
            for name, reason in compare(read(KEPT.read_text())[1], counts)
            if reason
        ]
        print("\n".join(wrong) if wrong else "as kept")
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
