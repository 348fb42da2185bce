# SPDX-License-Identifier: Apache-2.0
"""The host's side of the guest agent's serial console (tests/tools/guest/agent.c)."""

import itertools
import json
import select
import socket
import threading
import time

from .bed import TestbedError

_PREFIX = b"@godwit "


class AgentTimeout(TestbedError):
    """The agent did not answer in time."""


class Agent:
    """Commands to one guest's agent, and its reports.

    The guest may move. Each of its QEMU processes has a console, and attach() adds the next one.
    Commands go to the newest console. All consoles are read, because the last reports of the old
    one count.

    Methods may be called from one thread; reading happens in another.
    """

    def __init__(self, name, log_path):
        self.name = name
        self.latest = None  # the newest report, a dictionary
        self._log_path = log_path
        self._changed = threading.Condition()
        self._answers = {}
        self._sockets = []
        self._closing = False
        self._ids = itertools.count(1)
        self._reader = threading.Thread(target=self._read, name=f"console-{name}", daemon=True)
        self._reader.start()

    def attach(self, path):
        """Connects to a QEMU's console socket."""
        console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        console.connect(path)
        console.setblocking(False)
        with self._changed:
            self._sockets.append(console)

    def close(self):
        self._closing = True
        self._reader.join(5)
        with self._changed:
            for console in self._sockets:
                console.close()
            self._sockets.clear()

    def command(self, verb, argument="", timeout_s=15.0):
        """Sends a command and returns its answer.

        Repeats the command until an answer comes; the agent runs it once.
        """
        identity = f"{verb}{next(self._ids)}"
        line = f"{verb} {identity} {argument}".rstrip().encode() + b"\n"
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            # The first newline ends a line that noise may have begun.
            self._write(b"\n" + line)
            with self._changed:
                if self._changed.wait_for(lambda: identity in self._answers, timeout=2.0):
                    return self._answers.pop(identity)
        raise AgentTimeout(
            f"guest {self.name} does not answer `{verb}`; its console's log: {self._log_path}"
        )

    def report(self):
        return self.command("report")

    def shell(self, text, timeout_s=30.0):
        """Runs a busybox command in the guest; returns (exit status, output)."""
        answer = self.command("sh", text, timeout_s)["sh"]
        return answer["status"], answer["output"]

    def wait_for_report(self, condition, timeout_s, what):
        """Waits for a report, of those that come by themselves, that satisfies the condition."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self.latest is not None and condition(self.latest), timeout_s
            ):
                raise AgentTimeout(
                    f"guest {self.name}: timed out after {timeout_s:g} s: {what}; "
                    f"its console's log: {self._log_path}"
                )
            return self.latest

    def _write(self, data):
        with self._changed:
            consoles = self._sockets[-1:]
        for console in consoles:
            try:
                console.send(data)
            except OSError:
                pass  # the command is repeated, then at the next console

    def _read(self):
        pending = {}
        with open(self._log_path, "ab", buffering=0) as log:
            while not self._closing:
                with self._changed:
                    consoles = list(self._sockets)
                if not consoles:
                    time.sleep(0.02)
                    continue
                for console in select.select(consoles, [], [], 0.1)[0]:
                    self._read_one(console, pending, log)

    def _read_one(self, console, pending, log):
        try:
            data = console.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            with self._changed:
                if console in self._sockets:
                    self._sockets.remove(console)
            console.close()
            return
        log.write(data)
        *lines, rest = (pending.get(console, b"") + data).split(b"\n")
        pending[console] = rest
        for line in lines:
            self._take(line)

    def _take(self, line):
        start = line.find(_PREFIX)
        if start < 0:
            return
        try:
            message = json.loads(line[start + len(_PREFIX) :])
        except ValueError:
            return  # a line that a move cut off
        with self._changed:
            if message.get("id") is not None:
                self._answers[message["id"]] = message
            if "targets" in message:
                self.latest = message
            self._changed.notify_all()
