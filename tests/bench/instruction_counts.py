#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that the classifier and the pipeline take for fixed input, held against those kept in instruction_counts.txt.

    scripts/test counts                                       compare: the usual way
    tests/bench/instruction_counts.py BUILD --renew           write the file anew, after a change that is meant to change them

BUILD is a debugoptimized build (scripts/test has one in build/test). Counts come from valgrind's callgrind, each part of
fixed_classifier and fixed_pipeline alone, on both paths of the code: that for any CPU, and that for one with AVX2, which is
left out where there is none. (Valgrind shows no later extensions to what it runs.) They are the same on every machine, but
not from every compiler: with another than the file's nothing is compared.

More than TOLERANCE above the kept count fails: a path has become slower. As much below fails as well: the kept count
would let the next slower one pass, so it must be renewed.
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
# How many units a part does, for people: instructions a unit.
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
# Instructions of a debugoptimized build for fixed input; scripts/test holds a run against them, with {TOLERANCE:.0%} of room.
# To be renewed by a commit that is meant to change them: {RENEW}
# path: any CPU, or one with AVX2. unit: a rule, a lookup, an update, a packet.
"""


class CountError(Exception):
    """No count; the message says why."""


def has_avx2(cpuinfo="/proc/cpuinfo"):
    with open(cpuinfo) as file:
        return any(line.startswith("flags") and "avx2" in line.split() for line in file)


def compiler(build):
    """What a debugoptimized build directory compiles with, such as "gcc 12.2.0"."""
    info = Path(build) / "meson-info"
    try:
        options = {
            one["name"]: one["value"]
            for one in json.loads((info / "intro-buildoptions.json").read_text())
        }
        targets = json.loads((info / "intro-targets.json").read_text())
    except (OSError, ValueError) as error:
        raise CountError(f"{build} is no build directory: {error}") from None
    if options["buildtype"] != "debugoptimized":
        raise CountError(
            f"{build} is a {options['buildtype']} build: counts are of a debugoptimized one"
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
    """Of what --version prints; the distribution's own revision does not count."""
    first = version.partition("\n")[0]
    clang = re.search(r"clang version ([\d.]+)", first)
    return (
        f"clang {clang.group(1)}" if clang else f"gcc {first.split()[-1] if first else 'unknown'}"
    )


def count(build, program, part, path):
    """The instructions of one part."""
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
            raise CountError(f"{program} {part}: no end after 300 s") from None
        except FileNotFoundError:
            raise CountError("valgrind is not installed (scripts/setup)") from None
    if done.returncode != 0:
        raise CountError(f"{program} {part}: exit code {done.returncode}: {done.stderr[-300:]}")
    return parse_count(done.stderr, f"{program} {part}")


def parse_count(text, what):
    found = re.search(r"Collected : (\d+)", text)
    if not found or int(found.group(1)) == 0:
        raise CountError(f"{what}: callgrind counted nothing")
    return int(found.group(1))


def count_all(build, paths, threads=None):
    """{(program, part, path): instructions}"""
    wanted = [
        (program, part, path)
        for program, parts in PARTS.items()
        for part in parts
        for path in paths
    ]
    with concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return dict(zip(wanted, pool.map(lambda one: count(build, *one), wanted)))


def read(text):
    """(compiler, {(program, part, path): instructions})"""
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
            f"{program:18} {part:22} {path:5} {instructions:12} {instructions / PARTS[program][part]:9.1f}"
        )
    return HEADER + "\n".join(lines) + "\n"


def compare(kept, counts):
    """[(name, None or what is wrong)]: each count that was made, and each that is kept on a path that was counted."""
    paths = {path for _, _, path in counts}
    results = []
    for key in list(counts) + [key for key in kept if key not in counts and key[2] in paths]:
        name = " ".join(key)
        if key not in kept:
            results.append((name, f"no count is kept; {RENEW}"))
        elif key not in counts:
            results.append((name, f"is kept and was not counted; {RENEW}"))
        else:
            change = counts[key] / kept[key] - 1
            said = f"{counts[key]:,} instructions, {change:+.1%} of the {kept[key]:,} kept"
            wrong = None
            if change > TOLERANCE:
                wrong = f"slower: {said}; where that is meant, {RENEW}"
            elif change < -TOLERANCE:
                wrong = f"faster: {said}; keep it: {RENEW}"
            results.append((name, wrong))
    return results


def check(build, add):
    """For scripts/test: add(name, outcome, reason) for each count."""
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
            parser.error("the counts of both paths want a CPU with AVX2")
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
