# SPDX-License-Identifier: Apache-2.0
"""scripts/test prints its closing line even if setup or the program behind it fails."""
import os
import shutil
import signal
import subprocess

import pytest
from build_directory import REPO

LOG_SETUP = 'echo "setup $*" >>setup.log'


@pytest.fixture
def tree(tmp_path):
    """A folder with scripts/test, and a setup that records its calls."""
    (tmp_path / "scripts" / "lib").mkdir(parents=True)
    shutil.copy(REPO / "scripts" / "test", tmp_path / "scripts" / "test")
    write_setup(tmp_path, LOG_SETUP)
    return tmp_path


def write_setup(tree, text):
    path = tree / "scripts" / "setup"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def start(tree, program, arguments=()):
    """Starts scripts/test with `program` in the place of run_tests.py."""
    (tree / "scripts" / "lib" / "run_tests.py").write_text(program)
    return subprocess.Popen(
        [tree / "scripts" / "test", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    "program, code, last",
    [
        ("print('1 passed, 0 failed, 0 skipped')", 0, "1 passed, 0 failed, 0 skipped"),
        (
            "print('1 passed, 2 failed, 0 skipped'); raise SystemExit(3)",
            1,
            "1 passed, 2 failed, 0 skipped",
        ),
        ("import no_such_module", 1, "0 passed, 1 failed, 0 skipped"),
        ("import os; os.kill(os.getpid(), 9)", 1, "0 passed, 1 failed, 0 skipped"),
    ],
)
def test_closing_line_is_printed_however_the_program_ends(tree, program, code, last):
    child = start(tree, program)
    output = child.communicate(timeout=30)[0]
    assert child.returncode == code
    assert output.split("\n")[-2] == last
    assert "--restore-hugepages" in (tree / "setup.log").read_text().split("\n")[-2]


def test_failed_setup_is_reported(tree):
    write_setup(tree, "exit 1")
    child = start(tree, "print('must not run')")
    output = child.communicate(timeout=30)[0]
    assert child.returncode == 1
    assert output == (
        "FAILED setup: scripts/setup did not succeed; the reason is above\n"
        "0 passed, 1 failed, 0 skipped\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_is_passed_on_and_hugepages_are_restored(tree, number):
    program = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    print('0 passed, 1 failed, 0 skipped', flush=True)\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "print('begins', flush=True)\n"
        "time.sleep(1000)\n"
    )
    child = start(tree, program)
    assert child.stdout.readline() == "begins\n"
    os.kill(child.pid, number)
    output = child.communicate(timeout=30)[0]
    assert (child.returncode, output) == (130, "0 passed, 1 failed, 0 skipped\n")
    assert "--restore-hugepages" in (tree / "setup.log").read_text().split("\n")[-2]


@pytest.mark.parametrize(
    "arguments, calls",
    [
        (["unit", "--strict"], ["--no-guest"]),
        (["unit", "system"], ["", "--hugepages 1024", "--restore-hugepages"]),
        (["--strict"], ["", "--hugepages 1024", "--restore-hugepages"]),
    ],
)
def test_guests_and_hugepages_are_prepared_only_for_system_tests(tree, arguments, calls):
    start(tree, "", arguments).communicate(timeout=30)
    made = (tree / "setup.log").read_text().strip("\n").split("\n")
    assert len(made) == len(calls)
    assert all(call in line for call, line in zip(calls, made))
