# SPDX-License-Identifier: Apache-2.0
"""Processes of a run: logged, in a namespace if asked, never left behind."""

import signal
import subprocess
import time

from .bed import TestbedError


class Process:
    """One process. Ends when the testbed does; killed by the kernel if this process is.

    To be started from the main thread: the kernel takes the end of the starting thread for that of its process.
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
        """namespace: the network namespace (fabric.Namespace) to run in. cpus: such as "0" or "0-1". stdin: PIPE for
        one that is written to."""
        self.name = name
        self.log_path = bed.path("logs", name + ".log")
        command = ["setpriv", "--pdeathsig", "KILL"]
        if cpus is not None:
            command += ["taskset", "--cpu-list", cpus]
        if namespace is not None:
            command += namespace.prefix()
        # What a process logged before a restart stays.
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
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def alive(self):
        return self.exit_code() is None

    def write(self, text):
        """To its standard input (stdin=PIPE)."""
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def halt(self):
        """No instruction of it runs until resume()."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self, timeout_s=10.0):
        """Ends it with SIGTERM, with SIGKILL if it does not listen, and returns its exit code."""
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
        """Waits for it to end by itself; False if it does not."""
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
    """Returns the first true value of condition(); raises TestbedError, naming what, when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TestbedError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(interval_s)
