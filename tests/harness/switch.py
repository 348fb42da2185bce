# SPDX-License-Identifier: Apache-2.0
"""A real daemon for tests, without hugepages, with one silent device as uplink and its own folder.

GODWIT_BUILD names the build directory (default: build/test).
"""
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from testbed.bed import TestbedError
from testbed.daemon import RpcClient, RpcError

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GODWIT_BUILD", REPO / "build" / "test"))
UPLINK = {"name": "physnet1", "devargs": "net_null0,no-rx=1"}
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class Switch:
    """One godwitd. `config` extends a small configuration; a value of None removes a key."""

    def __init__(self, binary, folder, name, config):
        self.binary = binary
        self.name = name
        self.folder = Path(folder)
        self.socket_path = str(self.folder / f"{name}.sock")
        self.config_path = self.folder / f"{name}.yaml"
        self.log_path = self.folder / f"{name}.log"
        cpus = sorted(os.sched_getaffinity(0))
        whole = {
            "host": name,
            "control": {"socket": self.socket_path},
            "workers": {"cpus": [cpus[-1]], "idle": {"spin_us": 0, "max_sleep_us": 1000}},
            "memory": {
                "hugepages": False,
                "socket_mb": 128,
                "file_prefix": f"godwit-test-{os.getpid()}-{name}",
                "mbufs": 8192,
            },
            "uplinks": [UPLINK],
        } | config
        self.config_path.write_text(
            yaml.safe_dump(
                {k: v for k, v in whole.items() if v is not None}, sort_keys=False, width=1000
            )
        )
        self.process = None
        self.may_log_errors = False
        self.rpc = RpcClient(self.socket_path)

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self.binary, "--config", self.config_path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def start(self):
        self.spawn()
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            assert (
                self.process.poll() is None
            ), f"exit code {self.process.returncode} at start:\n{self.log()}"
            try:
                if os.path.exists(self.socket_path) and self.rpc.call("version"):
                    return self
            except RpcError:
                raise
            except TestbedError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not ready after {START_TIMEOUT_S} s:\n{self.log()}")

    def stop(self, signal_number=signal.SIGTERM):
        """Stops the daemon and returns its exit code."""
        self.rpc.close()
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal_number)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still running {STOP_TIMEOUT_S} s after a signal:\n{self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def text(self, line):
        """Returns the printed text of a command."""
        return self.rpc.command(line)["text"]

    def data(self, line):
        return self.rpc.command(line)["data"]

    def refused(self, line):
        """Returns the error of a command, which must be refused."""
        with pytest.raises(RpcError) as caught:
            self.rpc.command(line)
        return caught.value

    def picture(self):
        """Returns the whole visible policy, for comparison."""
        endpoints = self.data("show endpoints")["endpoints"]
        return (
            endpoints,
            [self.text(f"flow list {e['name']}") for e in endpoints],
            self.text("show port summary all"),
        )


VM1 = {
    "name": "vm1/net0",
    "vhost": {"socket": "{folder}/vm1.sock"},
    "macs": ["02:00:00:00:00:01"],
    "ips": ["10.0.0.1"],
}
VM2 = {
    "name": "vm2/net0",
    "vhost": {"socket": "{folder}/vm2.sock"},
    "macs": ["02:00:00:00:00:02"],
    "ips": ["10.0.0.2", "fd00::2"],
}
VM7 = {"name": "vm7/net0", "macs": ["02:00:00:00:00:07"]}
RULES = [
    "flow create vm1/net0 ingress pattern eth / ipv4 dst is 10.0.0.2 / end "
    "actions represented_port ethdev_port_id vm2/net0 / end",
    "flow create vm1/net0 ingress priority 3 pattern eth / ipv4 dst is 10.0.0.7 / end "
    "actions count / represented_port ethdev_port_id vm7/net0 / end",
    "flow create vm2/net0 egress pattern eth / ipv4 / udp dst is 53 / end actions drop / end",
    "flow create vm2/net0 ingress group 4 priority 1 pattern eth / end actions drop / end",
]
