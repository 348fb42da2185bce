#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Configures and builds the directories below build/ that the scripts use.

usage: scripts/lib/build_directory.py PROFILE [--at DIR] TARGET...
  PROFILE   a key of PROFILES; the directory is build/PROFILE
  --at DIR  builds in DIR instead. DIR belongs to the user: it is configured if it does not exist,
            and is never erased

A directory below build/ belongs to the scripts. One that was configured in another way than
PROFILES says is erased and configured again: with other options, with another compiler or meson,
from another clone, by hand, or only in part. One line says why.

After `meson setup` the file STAMP in the directory records how it was configured. The record is
compared on each run, so a directory without one was set up by hand or its setup did not finish.
"""
import contextlib
import fcntl
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
STAMP = "configured.json"
PROFILES = {
    # What users build: scripts/demo, moves, bench and simulate.
    "release": ["--buildtype=release"],
    # scripts/test and crash. Line tables alone save a third of the compiler's time, and a backtrace
    # still names its lines. Instruction counts are of this build.
    "test": ["--buildtype=debugoptimized", "-Dcpp_args=-g1"],
    # Not optimized and several files at once: a quarter of the time. The build `test` has -Werror.
    "sanitize": [
        "--buildtype=plain",
        "-Dcpp_args=-g1",
        "-Dunity=on",
        "-Dunity_size=6",
        "-Db_sanitize=address,undefined",
        "-Db_lundef=false",
        "-Dwerror=false",
    ],
    "tsan": [
        "--buildtype=debugoptimized",
        "-Db_sanitize=thread",
        "-Db_lundef=false",
        "-Dwerror=false",
    ],
}
# Variables that meson reads at setup.
ENVIRONMENT = ("CPPFLAGS", "CXXFLAGS", "LDFLAGS", "PKG_CONFIG_PATH")
# Files that a complete setup leaves, and that meson or ninja need.
COMPLETE = (
    "build.ninja",
    "meson-private/coredata.dat",
    "meson-private/build.dat",
    "meson-info/intro-tests.json",
    "meson-info/intro-buildoptions.json",
)


class BuildError(Exception):
    """A directory could not be configured or built. The message is a sentence for the user."""


def first_line(command):
    """Returns the first line that `command` prints, or "missing" if it cannot be run."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return "missing"
    return done.stdout.partition("\n")[0] if done.returncode == 0 else "missing"


@functools.lru_cache(maxsize=None)
def version(*command):
    """Returns the first line of `command --version`, which does not change during a run."""
    return first_line([*command, "--version"])


class BuildDirectory:
    """One directory and the options that it must be configured with."""

    def __init__(self, name, options, source=REPO, at=None):
        self.name, self.options, self.source = name, list(options), Path(source)
        self.owned = at is None
        self.path = self.source / "build" / name if at is None else Path(at)
        # How the directory is named in messages.
        self.label = f"build/{name}" if at is None else str(at)

    def build(self, targets=()):
        """Configures the directory if needed and builds `targets`, or the default targets if there
        are none. Returns the path of the directory. Raises BuildError on failure."""
        share_compiler_cache(self.source)
        with self._lock():
            self._prepare()
            if self._ninja(targets):
                return self.path
            # A damaged directory fails at once, or fails to configure itself again.
            if not self.owned or self._usable():
                raise BuildError(f"{self.label} does not build")
            self._erase("ninja and meson cannot use it")
            self._setup()
            if not self._ninja(targets):
                raise BuildError(f"{self.label} does not build")
        return self.path

    def _prepare(self):
        if not self.owned:
            if not (self.path / "build.ninja").exists():
                self._setup()
            return
        if os.path.lexists(self.path):
            reason = self.difference()
            if reason is None:
                return
            self._erase(reason)
        self._setup()

    def difference(self):
        """Returns what makes the existing directory unfit for use, as the end of a sentence, or
        None if it is configured as wanted."""
        try:
            record = json.loads((self.path / STAMP).read_text())
            found = record["configured"]
        except (OSError, ValueError, KeyError, TypeError):
            return "it was configured by hand, or its setup did not finish"
        wanted = self._wanted()
        if (found.get("source"), found.get("path")) != (wanted["source"], wanted["path"]):
            return f"it was copied from {found.get('path')}"
        for key in wanted:
            if found.get(key) != wanted[key]:
                was, now = _text(found.get(key)), _text(wanted[key])
                return f"its {key} changed from {was} to {now}"
        if record.get("command_line") != self._command_line():
            return "its options were changed by hand"
        for name in COMPLETE:
            file = self.path / name
            if not file.is_file() or file.stat().st_size == 0:
                return f"{name} is missing or empty"
        return None

    def _wanted(self):
        command = os.environ.get("CXX") or "c++"
        return {
            "source": str(self.source.resolve()),
            "path": str(self.path.resolve()),
            "options": self.options,
            "compiler": [command, version(*shlex.split(command))],
            "meson version": version("meson"),
            "environment": {name: os.environ.get(name, "") for name in ENVIRONMENT},
        }

    def _command_line(self):
        """Returns meson's own record of the options, which `meson configure` changes."""
        try:
            return (self.path / "meson-private" / "cmd_line.txt").read_text()
        except OSError:
            return None

    def _usable(self):
        """Returns whether ninja and meson can read the directory."""
        return all(
            first_line(command) != "missing"
            for command in (
                ["ninja", "-C", str(self.path), "-t", "targets", "depth", "1"],
                ["meson", "introspect", "--projectinfo", str(self.path)],
            )
        )

    def _erase(self, reason):
        print(f"build: sets up {self.label} again: {reason}", flush=True)
        try:
            if self.path.is_symlink() or self.path.is_file():
                self.path.unlink()
            else:
                shutil.rmtree(self.path)
        except OSError as error:
            raise BuildError(f"cannot remove {self.label}: {error}") from None

    def _setup(self):
        if self._run(["meson", "setup", str(self.path), str(self.source), *self.options]) != 0:
            raise BuildError(f"meson cannot configure {self.label}; the reason is above")
        record = {"configured": self._wanted(), "command_line": self._command_line()}
        (self.path / STAMP).write_text(json.dumps(record, indent=1) + "\n")

    def _ninja(self, targets):
        return self._run(["ninja", "-C", str(self.path), *targets]) == 0

    def _run(self, command):
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL).returncode
        except FileNotFoundError:
            raise BuildError(f"{command[0]} is not installed; scripts/setup installs it") from None

    @contextlib.contextmanager
    def _lock(self):
        """Lets one command at a time configure and build the directory. Others wait."""
        folder = self.source / "build"
        folder.mkdir(exist_ok=True)
        with open(folder / f".{self.name}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"build: waits for another command that builds {self.label}", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _text(value):
    if isinstance(value, dict):
        value = [f"{name}={word}" for name, word in value.items() if word]
    return f"`{' '.join(value)}`" if isinstance(value, list) else str(value)


def share_compiler_cache(source=REPO):
    """Lets clones of the same text share what the compiler cache holds."""
    os.environ.setdefault("CCACHE_BASEDIR", str(source))
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")


def build(profile, targets=(), at=None):
    """Builds `targets` in the directory of `profile` and returns its path. Raises BuildError."""
    return BuildDirectory(profile, PROFILES[profile], at=at).build(targets)


def main(arguments):
    if not arguments or arguments[0] not in PROFILES:
        print(__doc__, file=sys.stderr)
        return 2
    profile, at, targets = arguments[0], None, arguments[1:]
    if targets[:1] == ["--at"]:
        at, targets = targets[1] or None, targets[2:]
    try:
        build(profile, targets, at)
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
