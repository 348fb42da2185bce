# SPDX-License-Identifier: Apache-2.0
"""A client of the QEMU machine protocol (QMP), with the part that a migration needs."""

import json
import socket
import time

from .bed import TestbedError


class QmpError(TestbedError):
    """QEMU refused a command."""


class Qmp:
    """One session.

    A QEMU that waits for its vhost-user back-end accepts the connection but sends its greeting only
    later. connect() may therefore take as long as the switch does.
    """

    def __init__(self, path, process):
        self.events = []  # as received: {"event", "timestamp", "data"?}
        self._path = path
        self._process = process
        self._socket = None
        self._pending = b""

    def connect(self, timeout_s=20.0):
        deadline = time.monotonic() + timeout_s
        while self._socket is None:
            self._process.check_alive()
            try:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.connect(self._path)
                self._socket = connection
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise TestbedError(f"{self._process.name} opens no QMP socket") from None
                time.sleep(0.02)
        greeting = self._receive(deadline)
        if "QMP" not in greeting:
            raise TestbedError(f"{self._process.name} greets with {greeting}")
        self.execute("qmp_capabilities")

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def execute(self, command, timeout_s=10.0, **arguments):
        """Runs a command and returns its result. Underscores in argument names become hyphens."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = {
                key.replace("_", "-"): value for key, value in arguments.items()
            }
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._receive(deadline)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(f"{self._process.name}: {command}: {answer['error']['desc']}")
            elif "return" in answer:
                return answer["return"]

    def event_time_s(self, name):
        """Returns the time (CLOCK_REALTIME) of the last event of that name, or None."""
        for event in reversed(self.events):
            if event["event"] == name:
                return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
        return None

    def _receive(self, deadline):
        while b"\n" not in self._pending:
            self._process.check_alive()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TestbedError(
                    f"{self._process.name} does not answer on QMP; if it waits for its vhost-user "
                    f"back-end, the switch has not connected. Its log's end:\n"
                    f"{self._process.log_tail()}"
                )
            self._socket.settimeout(min(left_s, 0.5))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise TestbedError(f"{self._process.name} closed its QMP session")
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        return json.loads(line)
