# SPDX-License-Identifier: Apache-2.0
"""run_tests.py prints its closing line whatever its parts do."""
import os
import re
import signal
import subprocess
import sys
import time

import parts as parts_module
import pytest
import run_tests
from build_directory import REPO, BuildError
from tally import Tally

CLOSING = re.compile(r"\d+ passed, \d+ failed, \d+ skipped")


def run(capfd, *functions, strict=False, **settings):
    """Runs functions as parts. Returns the exit code, the lines and the closing line."""
    one = parts_module.Run(Tally(strict), **settings)
    named = [(f"part{i}", function) for i, function in enumerate(functions)]
    code = run_tests.run_parts(one, named)
    lines = capfd.readouterr().out.strip().split("\n")
    assert CLOSING.fullmatch(lines[-1])
    return code, lines, lines[-1]


def passes(one):
    one.tally.add("good", "passed")


def raiser(error):
    def part(_):
        raise error

    return part


def test_run_with_passing_part_succeeds(capfd):
    assert run(capfd, passes)[0::2] == (0, "1 passed, 0 failed, 0 skipped")


def test_run_without_outcome_fails(capfd):
    assert run(capfd, lambda _: None)[0::2] == (3, "0 passed, 0 failed, 0 skipped")


@pytest.mark.parametrize(
    "error, sentence",
    [
        (BuildError("build/x does not build"), "FAILED part0: build/x does not build"),
        (FileNotFoundError(2, "no", "meson"), "FAILED part0: meson is missing; scripts/setup"),
        (KeyError("key"), "FAILED part0: unexpected KeyError: 'key'"),
        (SystemError("odd"), "FAILED part0: unexpected SystemError: odd"),
    ],
)
def test_part_that_raises_fails_and_later_parts_run(capfd, error, sentence):
    code, lines, closing = run(capfd, raiser(error), passes)
    assert (code, closing) == (3, "1 passed, 1 failed, 0 skipped")
    assert any(line.startswith(sentence) for line in lines)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), run_tests.Interrupted("SIGTERM")])
def test_interrupt_ends_run_with_closing_line(capfd, error):
    code, _, closing = run(capfd, passes, raiser(error), passes)
    assert (code, closing) == (130, "1 passed, 1 failed, 0 skipped")


def test_build_failure_fails_each_part_that_needs_it_and_is_tried_once(capfd):
    tried = []

    def fail(profile, targets):
        tried.append(profile)
        raise BuildError(f"build/{profile} does not build")

    code, lines, closing = run(capfd, parts_module.run_sim, parts_module.run_unit, build=fail)
    assert (code, closing, tried) == (3, "0 passed, 2 failed, 0 skipped", ["test"])


def test_skip_without_reason_fails_when_strict(capfd):
    def skips(one):
        one.tally.add("a", "skipped", "cannot run here: no AVX2")
        one.tally.add("b", "skipped", "not today")

    assert run(capfd, passes, skips)[2] == "1 passed, 0 failed, 2 skipped"
    assert run(capfd, passes, skips, strict=True)[2] == "1 passed, 1 failed, 1 skipped"


def program(tmp_path, text):
    path = tmp_path / "program_test"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path.name


def test_unit_program_that_hangs_fails_with_its_children(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "UNIT_TIMEOUT_S", 0.5)
    name = program(tmp_path, "echo started; sleep 1000 & wait")
    started = time.monotonic()
    _, lines, closing = run(
        capfd,
        lambda one: parts_module.run_units(one, "unit", [name], "test"),
        build=lambda *_: tmp_path,
    )
    assert closing == "0 passed, 1 failed, 0 skipped"
    assert "FAILED unit program_test: still running after 0.5 s, 0 cases reported" in lines
    assert time.monotonic() - started < 10


def test_unit_program_that_crashes_fails(capfd, tmp_path):
    name = program(tmp_path, "kill -SEGV $$")
    _, lines, _ = run(
        capfd,
        lambda one: parts_module.run_units(one, "unit", [name], "test"),
        build=lambda *_: tmp_path,
    )
    assert "FAILED unit program_test: exit code -11, 0 cases reported" in lines


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], (False, list(parts_module.PARTS), [])),
        (["--strict"], (True, list(parts_module.PARTS), [])),
        (["unit", "layers"], (False, ["layers", "unit"], [])),
        (["system", "-k", "NAME", "--strict"], (True, ["system"], ["-k", "NAME"])),
        (["tsan"], (False, ["tsan"], [])),
    ],
)
def test_arguments_are_parted(words, expected):
    assert run_tests.parse_arguments(words) == expected


@pytest.mark.parametrize("name", parts_module.TSAN_TESTS)
def test_tests_of_part_tsan_exist(name):
    suite, case = name.split(".")
    files = (REPO / "tests" / "unit").rglob("*_test.cc")
    texts = [" ".join(file.read_text().split()) for file in files]
    assert any(f"({suite}, {case})" in text for text in texts)


def test_unknown_part_is_refused_with_closing_line():
    done = start(["unti"]).communicate(timeout=30)[0]
    assert "FAILED usage: unknown part 'unti'; the parts are layers" in done
    assert done.endswith("0 passed, 1 failed, 0 skipped\n")


def start(arguments, before=""):
    script = (
        f"import sys; sys.path.insert(0, {str(REPO / 'scripts' / 'lib')!r})\n"
        f"import run_tests, parts\n{before}\nsys.exit(run_tests.main({arguments!r}))"
    )
    return subprocess.Popen(
        [sys.executable, "-B", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_children_and_prints_closing_line(number):
    child = start(
        ["sim"],
        "def run_sim(run):\n"
        "    print('begins', flush=True)\n"
        "    run.processes.run(['sleep', '1000'])\n"
        "run_tests.PARTS['sim'] = run_sim",
    )
    lines = iter(child.stdout.readline, "")
    assert any(line == "begins\n" for line in lines)
    time.sleep(0.3)
    os.kill(child.pid, number)
    output = child.communicate(timeout=30)[0]
    assert child.returncode == 130
    assert f"FAILED sim: interrupted by {number.name}" in output
    assert output.endswith("0 passed, 1 failed, 0 skipped\n")
