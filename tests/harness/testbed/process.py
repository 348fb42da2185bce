# SPDX-License-Identifier: Apache-2.0
"""Processes of a run, with a log, an optional namespace, and a guaranteed end."""

import signal
import subprocess
import time

from .bed import TestbedError


class Process:
    """One process. It ends with the testbed. The kernel kills it if this process is killed.

    Start it from the main thread: the kernel treats the end of the starting thread as the end of
    its process.
    """

    def __init__(
        self,
        bed,
        name,
        arguments,
        namespace=None,
        cpus=None,
        environment=None,
        stdin=subprocess.DEVNULL,
    ):
        """Starts the process.

        `namespace` is the network namespace (fabric.Namespace) to run in, `cpus` a list such as "0"
        or "0-1". `stdin` is PIPE if write() is used.
        """
        self.name = name
        self.log_path = bed.path("logs", name + ".log")
        command = ["setpriv", "--pdeathsig", "KILL"]
        if cpus is not None:
            command += ["taskset", "--cpu-list", cpus]
        if namespace is not None:
            command += namespace.prefix()
        # Appends, to keep the log from before a restart.
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                command + arguments,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        bed.callback(self.stop)

    @property
    def pid(self):
        return self._process.pid

    def exit_code(self):
        """Returns the exit code: None while it runs, negative for a signal."""
        return self._process.poll()

    def alive(self):
        return self.exit_code() is None

    def write(self, text):
        """Writes to its standard input (stdin=PIPE)."""
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def halt(self):
        """Stops it with SIGSTOP until resume()."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self, timeout_s=10.0):
        """Ends it with SIGTERM, or with SIGKILL after a timeout. Returns its exit code."""
        if self.alive():
            self._process.send_signal(signal.SIGTERM)
            self.resume()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self):
        """Ends it with SIGKILL, as a crash would."""
        self._process.kill()
        return self._process.wait()

    def wait(self, timeout_s):
        """Waits for its end. Returns False on a timeout."""
        try:
            self._process.wait(timeout_s)
            return True
        except subprocess.TimeoutExpired:
            return False

    def log_text(self):
        with open(self.log_path, "r", errors="replace") as log:
            return log.read()

    def log_tail(self, lines=20):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def check_alive(self):
        if not self.alive():
            raise TestbedError(
                f"{self.name} ended with {self.exit_code()}; its log's end:\n{self.log_tail()}"
            )


def wait_until(condition, timeout_s, what, interval_s=0.02):
    """Returns the first true value of condition(). Raises TestbedError with `what` on a timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TestbedError(f"timed out after {timeout_s:g} s: {what}")
        time.sleep(interval_s)
