# SPDX-License-Identifier: Apache-2.0
"""A godwitd in a host's namespace, and a client of its control socket."""

import itertools
import json
import os
import socket

import yaml

from .bed import TestbedError
from .process import Process, wait_until


class RpcError(TestbedError):
    """The daemon refused a request."""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error.get('message')}")
        self.code = error.get("code")
        self.message = error.get("message")
        self.data = error.get("data") or {}


class RpcClient:
    """JSON-RPC 2.0 on a Unix socket, one object a line. Used by one thread."""

    def __init__(self, path, timeout_s=30.0):
        self._path = path
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._socket = None
        self._file = None

    def call(self, method, **parameters):
        """Returns the result of a method. Raises RpcError if the daemon refuses it."""
        identity = next(self._ids)
        request = {"jsonrpc": "2.0", "id": identity, "method": method, "params": parameters}
        try:
            self._connect()
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._file.readline()
        except OSError as error:
            self.close()
            raise TestbedError(f"control socket {self._path}: {error}") from error
        if not line:
            self.close()
            raise TestbedError(f"control socket {self._path}: closed during {method}")
        answer = json.loads(line)
        if answer.get("id") != identity:
            raise TestbedError(f"{method}: the answer is for request {answer.get('id')}")
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    def command(self, line):
        """Runs a command as the `godwit` tool does; returns {"text", "data"}."""
        return self.call("command", line=line)

    def close(self):
        if self._socket is not None:
            self._file.close()
            self._socket.close()
            self._socket = self._file = None

    def _connect(self):
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout_s)
            connection.connect(self._path)
            self._socket = connection
            self._file = connection.makefile("rb")


class Daemon:
    """One godwitd. `config` is its configuration as a dictionary; control.socket is added."""

    def __init__(self, bed, host, binary, config):
        self.host = host
        self.config_path = bed.path(host.name, "host.yaml")
        self.socket_path = bed.path(host.name, "godwit.sock")
        config = {**config, "control": {**config.get("control", {}), "socket": self.socket_path}}
        with open(self.config_path, "w") as file:
            yaml.safe_dump(config, file, sort_keys=False, width=1000)
        self._bed = bed
        self._binary = binary
        self.process = None
        self.rpc = RpcClient(self.socket_path)
        bed.callback(self.rpc.close)

    def start(self, timeout_s=30.0):
        """Starts it and waits until it is ready."""
        self.process = Process(
            self._bed,
            f"godwitd-{self.host.name}",
            [self._binary, "--config", self.config_path],
            namespace=self.host.namespace,
        )
        wait_until(
            self._ready,
            timeout_s,
            f"godwitd on {self.host.name} is not ready; its log is " f"{self.process.log_path}",
            0.05,
        )
        return self

    def stop(self):
        """Ends it with SIGTERM and returns its exit code."""
        self.rpc.close()
        return self.process.stop()

    def _ready(self):
        self.process.check_alive()
        if not os.path.exists(self.socket_path):
            return False
        try:
            return self.rpc.call("version") is not None
        except RpcError:
            raise
        except TestbedError:
            return False
