# SPDX-License-Identifier: Apache-2.0
"""Lists the files of a repository for the checks, and runs a check from the command line."""
import argparse
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
# Patterns of file names.
CPP = ("*.h", "*.cc", "*.c", "*.inc")
PYTHON = ("*.py",)
MARKDOWN = ("*.md",)
# Files that the checks of size and columns read as well.
OTHER = ("meson.build", "meson_options.txt", "*.yaml", "*.yml", "*.proto", "*.service")
# A URL cannot be broken, so the checks of columns do not count it.
URL = re.compile(r"https?://\S+")


class Unavailable(Exception):
    """The check cannot run on this machine. The message says why."""


def listed(root):
    """Returns the paths of all files that Git tracks and that exist, relative to `root`."""
    done = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Unavailable(f"git cannot list the files of {root}: {done.stderr.strip()}")
    return [path for path in done.stdout.split("\0") if path and (Path(root) / path).is_file()]


def matches(path, patterns):
    """Returns whether the file's name, without its folder, matches one of the patterns."""
    return any(fnmatch.fnmatch(Path(path).name, pattern) for pattern in patterns)


def is_script(root, path):
    """Returns whether a file without a suffix begins with #!."""
    if Path(path).suffix:
        return False
    with open(Path(root) / path, "rb") as file:
        return file.read(2) == b"#!"


def is_python(root, path):
    """Returns whether the file is Python, by its name or its first line."""
    if matches(path, PYTHON):
        return True
    if not is_script(root, path):
        return False
    with open(Path(root) / path, "rb") as file:
        return b"python" in file.readline()


def main(description, check):
    """Runs `check(root)`, which yields breaches, and prints them. A breach is one line of text that
    names the place and the rule. Returns the exit code: 1 if there is a breach, or 77, which Meson
    counts as skipped, if the check cannot run."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", default=REPO, metavar="DIR", help="the repository to check (default: this one)"
    )
    arguments = parser.parse_args()
    try:
        breaches = list(check(Path(arguments.root)))
    except Unavailable as reason:
        print(f"cannot run here: {reason}")
        return 77
    for breach in breaches:
        print(breach)
    if breaches:
        print(f"{Path(sys.argv[0]).name}: {len(breaches)} breaches")
    return 1 if breaches else 0
