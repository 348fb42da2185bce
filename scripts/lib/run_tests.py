#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests, after scripts/test has installed what they need. See scripts/test for the usage.

The last line is `N passed, N failed, N skipped`, whatever happens. The exit code is 0 on success, 3
if something failed, 130 after an interrupt. Any other exit code means that this program itself
failed before it printed the last line; scripts/test prints one then.
"""
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from build_directory import BuildError  # noqa: E402
from processes import Interrupted, raise_interrupted  # noqa: E402
from tally import Tally  # noqa: E402
from parts import FURTHER_PARTS, PARTS, Run  # noqa: E402

EXIT_FAILED, EXIT_INTERRUPTED = 3, 130


class UsageError(Exception):
    """The command line is not understood. The message says which word."""


def parse_arguments(words):
    """Returns (strict, names of parts, arguments for pytest). Raises UsageError."""
    known = {**PARTS, **FURTHER_PARTS}
    strict, parts, words = False, [], list(words)
    while words and (words[0] == "--strict" or not words[0].startswith("-")):
        word = words.pop(0)
        if word == "--strict":
            strict = True
        elif word in known:
            parts.append(word)
        else:
            raise UsageError(f"unknown part '{word}'; the parts are {', '.join(known)}")
    parts = [name for name in known if name in parts] or list(PARTS)
    strict = strict or "--strict" in words
    return strict, parts, [word for word in words if word != "--strict"]


def run_part(run, name, function):
    """Runs one part. Whatever it raises, except an interrupt, becomes a failure."""
    print(f"== {name} ({run.seconds():.0f} s so far)", flush=True)
    try:
        function(run)
    except BuildError as error:
        run.tally.add(name, "failed", str(error))
    except FileNotFoundError as error:
        run.tally.add(
            name, "failed", f"{error.filename} is missing; scripts/setup installs the tools"
        )
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        run.tally.add(name, "failed", f"unexpected {type(error).__name__}: {error}")


def run_parts(run, parts):
    """Runs [(name, function)] and returns the exit code. Prints the closing line."""
    code = EXIT_FAILED
    try:
        for name, function in parts:
            run.part = name
            run_part(run, name, function)
        code = 0
    except (Interrupted, KeyboardInterrupt) as reason:
        print(f"interrupted: {reason}; ends what is running", flush=True)
        run.processes.stop()
        run.tally.add(run.part, "failed", f"interrupted by {reason}")
        code = EXIT_INTERRUPTED
    finally:
        good = run.tally.close(run.seconds())
    return code if good or code else EXIT_FAILED


def main(words):
    started = time.monotonic()
    raise_interrupted()
    try:
        strict, parts, pytest_arguments = parse_arguments(words)
    except UsageError as error:
        tally = Tally()
        tally.add("usage", "failed", str(error))
        tally.close(time.monotonic() - started)
        return EXIT_FAILED
    known = {**PARTS, **FURTHER_PARTS}
    return run_parts(Run(Tally(strict), pytest_arguments), [(name, known[name]) for name in parts])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
