#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Behind scripts/test, which has seen to what this needs. All tests: layers, units (plain and under ASan + UBSan), instruction counts, system tests with the real daemon, the demo's move.

    scripts/test                 everything
    scripts/test unit            only the named parts: layers sim unit counts sanitize system; or tsan, which is not in `everything`:
                                 the classifier's readers beside a writer under ThreadSanitizer
    scripts/test --strict        a skip whose reason does not begin with `cannot run here:` counts as a failure
    scripts/test system -k NAME  what follows the parts goes to pytest

The last line is `N passed, N failed, N skipped`; the exit code is 1 when something failed.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests" / "bench"))

import instruction_counts  # noqa: E402

PARTS = ["layers", "sim", "unit", "counts", "sanitize", "system"]
FURTHER_PARTS = ["tsan"]
TSAN_PROGRAMS = ["tests/unit/classifier_oracle_test", "tests/unit/classifier_test"]
TSAN_FILTER = "ClassifierThreads.*:*HalfATransaction*"
SIM_SEEDS = 20_000
SIM_MUTANT_SEEDS = 10_000
SIM_TIMEOUT_S = 600
MAY_SKIP = "cannot run here:"
UNIT_TIMEOUT_S = 300
SYSTEM_TIMEOUT_S = 1500


class Tally:
    def __init__(self, strict):
        self.passed, self.failed, self.skipped, self.strict = 0, 0, 0, strict
        self.notes = []

    def add(self, name, outcome, reason=""):
        if outcome == "skipped" and self.strict and not reason.startswith(MAY_SKIP):
            outcome, reason = "failed", f"skipped without need: {reason or 'no reason given'}"
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome != "passed":
            self.notes.append(f"{outcome.upper()} {name}" + (f": {reason}" if reason else ""))


def say(text):
    print(f"== {text}", flush=True)


def run(command, **kwargs):
    return subprocess.run(command, cwd=REPO, stdin=subprocess.DEVNULL, **kwargs)


def jobs():
    return min(os.cpu_count() or 1, 8)


def build(name, options, targets=()):
    """Configures once, builds, and returns the build directory; None when it does not build."""
    directory = REPO / "build" / name
    if not (directory / "build.ninja").exists():
        if run(["meson", "setup", str(directory), *options]).returncode != 0:
            return None
    return directory if run(["ninja", "-C", str(directory), *targets]).returncode == 0 else None


def unit_programs(directory):
    """The paths below the build directory of the programs of unit tests."""
    found = json.loads(run(["meson", "introspect", "--tests", str(directory)], capture_output=True, text=True).stdout)
    return [str(Path(test["cmd"][0]).relative_to(directory)) for test in found
            if "unit" in " ".join(test["suite"])]


def run_unit(program, environment):
    """One program of unit tests: its exit code, what it printed, and the cases it reported."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        try:
            done = run([program, f"--gtest_output=json:{report}", "--gtest_brief=1"], env=environment,
                       timeout=UNIT_TIMEOUT_S, capture_output=True, text=True, errors="replace")
            code, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            code, output = -1, f"still running after {UNIT_TIMEOUT_S} s"
        cases = []
        if report.exists():
            try:
                cases = [c for s in json.loads(report.read_text())["testsuites"] for c in s["testsuite"]]
            except (ValueError, KeyError):
                cases = []
    return code, output, cases


def run_units(tally, directory, label, programs, **settings):
    """As many programs at once as there are CPUs."""
    environment = dict(os.environ, **settings, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
    with ThreadPoolExecutor(jobs()) as pool:
        results = pool.map(lambda program: run_unit(directory / program, environment), programs)
        for program, (code, output, cases) in zip(programs, results):
            name = f"{label} {Path(program).name}"
            bad = 0
            for case in cases:
                outcome = "failed" if case.get("failures") else "skipped" if case.get("result") == "SKIPPED" else "passed"
                bad += outcome == "failed"
                reason = "; ".join(m.get("message", "") for m in case.get("skipped", []))
                tally.add(f"{name} {case['classname']}.{case['name']}", outcome, reason.split("\n")[-1])
            if code != 0 and bad == 0 or not cases:
                tally.add(f"{name}", "failed", f"exit code {code}, {len(cases)} cases reported")
                bad += 1
            print(f"   {name}: {len(cases)} cases{', FAILED' if bad else ''}", flush=True)
            if bad:
                print(output[-6000:], flush=True)


def run_system(tally, directory, extra):
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        environment = dict(os.environ, GODWIT_BUILD=str(directory), PYTHONDONTWRITEBYTECODE="1")
        environment.setdefault("GODWIT_SWAP_SECONDS", "30")
        command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--durations=8", f"--junit-xml={report}",
                   "tests/system", "tests/support/vhost_frontend/testpmd_test.py", *extra]
        try:
            code = run(command, env=environment, timeout=SYSTEM_TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {SYSTEM_TIMEOUT_S} s"
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    bad = 0
    for case in cases:
        name = f"system {case.get('classname', '').removeprefix('tests.system.')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            bad += 1
            tally.add(name, "failed")
        elif skipped is not None:
            tally.add(name, "skipped", skipped.get("message", ""))
        else:
            tally.add(name, "passed")
    if (code != 0 and bad == 0) or not cases:
        tally.add("system", "failed", f"pytest: exit code {code}, {len(cases)} cases reported")


def run_sim(tally, directory):
    """The fault simulator, on all CPUs: many seeds as they are, then each mutant until it is caught."""
    for name, arguments in {"seeds": ["--seeds", str(SIM_SEEDS), "--jobs", str(jobs())],
                            "mutants": ["--mutants", "--mutant-seeds", str(SIM_MUTANT_SEEDS)]}.items():
        try:
            done = run(["scripts/simulate", "--build", str(directory), *arguments], timeout=SIM_TIMEOUT_S, capture_output=True, text=True, errors="replace")
            code, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            code, output = -1, f"still running after {SIM_TIMEOUT_S} s"
        print(output[-6000:] if code else "\n".join(output.strip().split("\n")[-2:]), flush=True)
        tally.add(f"sim {name}", "failed" if code else "passed")


def share_compiler_cache():
    """Lets a fresh clone take from the compiler cache what another clone of the same text left there."""
    os.environ.setdefault("CCACHE_BASEDIR", str(REPO))
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("parts", nargs="*", metavar="PART")
    arguments, extra = parser.parse_known_args()
    known = PARTS + FURTHER_PARTS
    parts = [p for p in arguments.parts if p in known] or PARTS
    extra = [p for p in arguments.parts if p not in known] + extra
    tally = Tally(arguments.strict)
    share_compiler_cache()
    started = time.monotonic()

    if "layers" in parts:
        say("layers")
        tally.add("layers", "passed" if run(["scripts/check-layers"]).returncode == 0 else "failed")
    if {"sim", "unit", "counts", "system"} & set(parts):
        say("build")
        # Line tables only: a third of the compiler's time less, and a backtrace still names its lines.
        plain = build("release", ["--buildtype=debugoptimized", "-Dcpp_args=-g1"])
        if plain is None:
            tally.add("build", "failed")
        else:
            if "sim" in parts:
                say(f"simulator ({time.monotonic() - started:.0f} s so far)")
                run_sim(tally, plain)
            if "unit" in parts:
                say(f"unit tests ({time.monotonic() - started:.0f} s so far)")
                programs = unit_programs(plain)
                if run(["ninja", "-C", str(plain), *programs]).returncode == 0:
                    run_units(tally, plain, "unit", programs)
                else:
                    tally.add("unit", "failed", "does not build")
            if "counts" in parts:
                say(f"instruction counts ({time.monotonic() - started:.0f} s so far)")
                instruction_counts.check(plain, tally.add)
            if "system" in parts:
                say(f"system tests ({time.monotonic() - started:.0f} s so far)")
                run_system(tally, plain, extra)
    if "sanitize" in parts:
        say(f"unit tests under ASan and UBSan ({time.monotonic() - started:.0f} s so far)")
        # Not optimized, line tables only, several files at once: a quarter of the time, and the plain build holds the warnings.
        sanitized = build("sanitize", ["--buildtype=plain", "-Dcpp_args=-g1", "-Dunity=on", "-Dunity_size=6",
                                       "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dwerror=false"], ["unit-tests"])
        if sanitized is None:
            tally.add("sanitize", "failed", "does not build")
        else:
            run_units(tally, sanitized, "sanitize", unit_programs(sanitized))
    if "tsan" in parts:
        say(f"threads under TSan ({time.monotonic() - started:.0f} s so far)")
        threads = build("tsan", ["--buildtype=debugoptimized", "-Db_sanitize=thread", "-Db_lundef=false", "-Dwerror=false"],
                        TSAN_PROGRAMS)
        if threads is None:
            tally.add("tsan", "failed", "does not build")
        else:
            run_units(tally, threads, "tsan", TSAN_PROGRAMS, GTEST_FILTER=TSAN_FILTER)

    for note in tally.notes:
        print(note)
    print(f"took {time.monotonic() - started:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
