# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/test. Each is a function that adds its outcomes to the tally of a Run."""
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build_directory
from processes import Processes

REPO = Path(__file__).resolve().parents[2]
TSAN_PROGRAMS = ["tests/unit/classifier_concurrency_test", "tests/unit/classifier_oracle_test"]
TSAN_TESTS = [
    "ClassifierConcurrencyTest.ReadersSeeOneWholeGenerationDuringChanges",
    "ClassifierOracle.PacketsSeeWholeTransactionsOfTheirGeneration",
]
SIM_SEEDS = 20_000
SIM_MUTANT_SEEDS = 10_000
SIM_IDENTITY_SEEDS = 2_000
SIM_TIMEOUT_S = 600
CHECK_TIMEOUT_S = 600
UNIT_TIMEOUT_S = 300
SYSTEM_TIMEOUT_S = 1500
# What is kept of the output of a program that failed.
OUTPUT_TAIL = 6000
# The exit code of a check that cannot run here.
EXIT_SKIPPED = 77


class Run:
    """One run of scripts/test: the tally, the child processes and the builds."""

    def __init__(self, tally, pytest_arguments=(), build=build_directory.build):
        self.tally = tally
        self.pytest_arguments = list(pytest_arguments)
        self.processes = Processes(REPO)
        self.part = "start"
        self._build = build
        self._built = {}
        self._started = time.monotonic()

    def seconds(self):
        """Returns the time since the start of the run."""
        return time.monotonic() - self._started

    def directory(self, profile, targets=()):
        """Builds `targets` and returns the directory. Raises BuildError, also when asked again for
        what did not build before."""
        key = (profile, tuple(targets))
        if key not in self._built:
            try:
                self._built[key] = self._build(profile, targets)
            except build_directory.BuildError as error:
                self._built[key] = error
        if isinstance(self._built[key], Exception):
            raise self._built[key]
        return self._built[key]


def run_check(run, name):
    """Runs a script of scripts/ that prints breaches. Its exit code is 77 if it cannot run here."""
    code, output = run.processes.run([f"scripts/{name}"], CHECK_TIMEOUT_S, capture=True)
    print(output, end="", flush=True)
    outcome = {0: "passed", EXIT_SKIPPED: "skipped"}.get(code, "failed")
    reason = f"{exit_text(code, CHECK_TIMEOUT_S)}; the breaches are above"
    run.tally.add(name, outcome, output.strip() if outcome == "skipped" else reason)


def run_layers(run):
    run_check(run, "check-layers")


def run_style(run):
    """The form and the sizes of files, the links of documents, and the messages of commits."""
    for name in ("check-style", "check-sizes", "check-docs", "check-commit"):
        run_check(run, name)


def run_scripts(run):
    """The tests of the scripts themselves."""
    run_pytest(run, "scripts", ["tests/unit/scripts"], CHECK_TIMEOUT_S)


def run_sim(run):
    """The fault simulator on all CPUs: many seeds, then each mutant until it is caught.

    The mutant `identity` changes nothing, so its wrappers must not be found at fault.
    """
    directory = run.directory("test")
    seeds = ["--seeds", str(SIM_SEEDS), "--jobs", str(jobs())]
    mutants = ["--mutants", "--mutant-seeds", str(SIM_MUTANT_SEEDS)]
    identity = ["--seeds", str(SIM_IDENTITY_SEEDS), "--mutant", "identity", "--jobs", str(jobs())]
    for name, arguments in {"seeds": seeds, "identity": identity, "mutants": mutants}.items():
        command = ["scripts/simulate", "--build", str(directory), *arguments]
        code, output = run.processes.run(command, SIM_TIMEOUT_S, capture=True)
        print(
            "\n".join(output.strip().split("\n")[-2:]) if code == 0 else output[-OUTPUT_TAIL:],
            flush=True,
        )
        run.tally.add(
            f"sim {name}", "passed" if code == 0 else "failed", exit_text(code, SIM_TIMEOUT_S)
        )


def run_unit(run):
    run_units(run, "unit", unit_programs(run.directory("test")), "test")


def run_counts(run):
    """Instruction counts of the classifier and the pipeline."""
    sys.path.insert(0, str(REPO / "tests" / "bench"))
    import instruction_counts

    instruction_counts.check(run.directory("test"), run.tally.add)


def run_sanitize(run):
    programs = unit_programs(run.directory("sanitize", ["unit-tests"]))
    run_units(run, "sanitize", programs, "sanitize")


def run_tsan(run):
    run_units(run, "tsan", TSAN_PROGRAMS, "tsan", GTEST_FILTER=":".join(TSAN_TESTS))


def run_system(run):
    """System tests: real daemons, guests and front-ends."""
    directory = run.directory("test")
    settings = {"GODWIT_BUILD": str(directory)}
    settings.setdefault("GODWIT_SWAP_SECONDS", os.environ.get("GODWIT_SWAP_SECONDS", "30"))
    paths = ["tests/system"]
    run_pytest(
        run,
        "system",
        ["--durations=8", *paths, *run.pytest_arguments],
        SYSTEM_TIMEOUT_S,
        **settings,
    )


def jobs():
    return min(os.cpu_count() or 1, 8)


def exit_text(code, timeout_s):
    """Returns how a command ended, as text; None is one that was killed after `timeout_s`."""
    return f"still running after {timeout_s} s" if code is None else f"exit code {code}"


def unit_programs(directory):
    """Returns the paths of the unit test programs, relative to the build directory."""
    command = ["meson", "introspect", "--tests", str(directory)]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if found.returncode != 0:
        raise build_directory.BuildError(f"meson cannot list the unit tests: {found.stderr[-300:]}")
    return [
        str(Path(test["cmd"][0]).relative_to(directory))
        for test in json.loads(found.stdout)
        if "unit" in " ".join(test["suite"])
    ]


def run_units(run, label, programs, profile, **settings):
    """Builds and runs unit test programs, as many at once as there are CPUs."""
    directory = run.directory(profile, programs)
    environment = {
        **os.environ,
        **settings,
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    pool = ThreadPoolExecutor(jobs())
    try:
        results = pool.map(lambda name: run_program(run, directory / name, environment), programs)
        for program, result in zip(programs, results):
            add_program(run.tally, f"{label} {Path(program).name}", *result)
    except BaseException:
        # The threads of the pool wait for these processes.
        run.processes.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def run_program(run, program, environment):
    """Runs one unit test program. Returns how it ended, its output and its cases as JSON; how it
    ended is empty for exit code 0."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        command = [str(program), f"--gtest_output=json:{report}", "--gtest_brief=1"]
        code, output = run.processes.run(
            command, UNIT_TIMEOUT_S, capture=True, environment=environment
        )
        try:
            suites = json.loads(report.read_text())["testsuites"]
            cases = [case for suite in suites for case in suite["testsuite"]]
        except (OSError, ValueError, KeyError):
            cases = []
    return "" if code == 0 else exit_text(code, UNIT_TIMEOUT_S), output, cases


def add_program(tally, name, ended, output, cases):
    """Counts the cases of one unit test program, and the program itself if it failed otherwise."""
    bad = 0
    for case in cases:
        skipped = case.get("result") == "SKIPPED"
        outcome = "failed" if case.get("failures") else "skipped" if skipped else "passed"
        bad += outcome == "failed"
        reason = "; ".join(one.get("message", "") for one in case.get("skipped", []))
        tally.add(f"{name} {case['classname']}.{case['name']}", outcome, reason.split("\n")[-1])
    if ended and bad == 0 or not cases:
        tally.add(name, "failed", f"{ended or 'exit code 0'}, {len(cases)} cases reported")
        bad += 1
    print(f"   {name}: {len(cases)} cases{', FAILED' if bad else ''}", flush=True)
    if bad:
        print(output[-OUTPUT_TAIL:], flush=True)


def run_pytest(run, label, arguments, timeout_s, **settings):
    """Runs pytest and counts its cases."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [
            "/usr/bin/python3",
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            f"--junit-xml={report}",
            *arguments,
        ]
        environment = {**os.environ, **settings, "PYTHONDONTWRITEBYTECODE": "1"}
        code, _ = run.processes.run(command, timeout_s, environment=environment)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    bad = sum(add_case(run.tally, label, case) for case in cases)
    if (code != 0 and bad == 0) or not cases:
        run.tally.add(
            label, "failed", f"pytest: {exit_text(code, timeout_s)}, {len(cases)} cases reported"
        )


def add_case(tally, label, case):
    """Counts one case of pytest's report. Returns whether it failed."""
    folder = case.get("classname", "").removeprefix("tests.").removeprefix(f"{label}.")
    name = f"{label} {folder}.{case.get('name')}"
    skipped = case.find("skipped")
    if case.find("failure") is not None or case.find("error") is not None:
        tally.add(name, "failed")
        return True
    if skipped is not None:
        tally.add(name, "skipped", skipped.get("message", ""))
    else:
        tally.add(name, "passed")
    return False


# The parts in the order in which they run: name -> function.
PARTS = {
    "layers": run_layers,
    "scripts": run_scripts,
    "style": run_style,
    "sim": run_sim,
    "unit": run_unit,
    "counts": run_counts,
    "system": run_system,
    "sanitize": run_sanitize,
}
# Parts that run only when they are named.
FURTHER_PARTS = {"tsan": run_tsan}
