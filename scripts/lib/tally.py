# SPDX-License-Identifier: Apache-2.0
"""Counts the outcomes of tests and prints the closing line."""

# --strict accepts a skip whose reason begins with this text.
MAY_SKIP = "cannot run here:"


class Tally:
    """The number of tests with each outcome, and the reasons of those that did not pass. With
    `strict`, a skip is a failure unless its reason begins with MAY_SKIP."""

    def __init__(self, strict=False):
        self.passed, self.failed, self.skipped = 0, 0, 0
        self._strict = strict
        self._notes = []

    def add(self, name, outcome, reason=""):
        """Counts one test. `outcome` is "passed", "failed" or "skipped", and `reason` says why the
        test did not pass."""
        if outcome == "skipped" and self._strict and not reason.startswith(MAY_SKIP):
            outcome, reason = (
                "failed",
                f"skipped, expected '{MAY_SKIP} ...': {reason or 'no reason'}",
            )
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome != "passed":
            self._notes.append(f"{outcome.upper()} {name}" + (f": {reason}" if reason else ""))

    def close(self, seconds):
        """Prints the tests that did not pass and the closing line. Returns True if at least one
        test passed and none failed."""
        for note in self._notes:
            print(note)
        print(f"took {seconds:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return self.failed == 0 and self.passed > 0
