# SPDX-License-Identifier: Apache-2.0
"""Child processes with a time limit, which all end when the caller is interrupted."""
import os
import signal
import subprocess
import threading

_GRACE_S = 20


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP has arrived."""


class Processes:
    """Runs commands, each in a process group of its own, so that all of it can be ended. Any thread
    may call run(); the main thread calls stop()."""

    def __init__(self, directory):
        self._directory = directory
        self._running = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, command, timeout_s=None, capture=False, environment=None):
        """Runs `command` and returns its exit code and, with `capture`, its output. The exit code
        is None if the command was still running after `timeout_s`; it is then killed. Raises
        OSError if the command cannot be started."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if capture else {}
        with self._lock:
            if self._stopped:
                return None, ""
            child = subprocess.Popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                env=environment,
                text=True,
                errors="replace",
                start_new_session=True,
                **pipes
            )
            self._running.add(child)
        try:
            output, _ = child.communicate(timeout=timeout_s)
            return child.returncode, output or ""
        except subprocess.TimeoutExpired as late:
            _signal(child, signal.SIGKILL)
            child.wait()
            output = late.output or b""
            return None, output.decode(errors="replace") if isinstance(output, bytes) else output
        finally:
            if child.poll() is not None:
                self._running.discard(child)

    def stop(self):
        """Interrupts what runs, kills what still runs after _GRACE_S seconds, and makes later calls
        of run() return at once."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            _signal(child, signal.SIGINT)
        for child in running:
            try:
                child.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                pass
            _signal(child, signal.SIGKILL)


def _signal(child, number):
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass


def raise_interrupted():
    """Makes the first SIGINT, SIGTERM or SIGHUP raise Interrupted in the main thread. Later ones
    are ignored, so that cleaning up is not cut short."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def handle(number, _):
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for one in signals:
        signal.signal(one, handle)
