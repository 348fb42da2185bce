# SPDX-License-Identifier: Apache-2.0
"""An interactive dpdk-testpmd: sends commands, and parses counters from its output."""

import re
import subprocess
import time

from testbed.bed import TestbedError
from testbed.process import Process, wait_until

_PROMPT = "testpmd> "


class Testpmd:
    """One dpdk-testpmd with its own hugepages (--in-memory). `vdevs` are --vdev arguments in the
    order of port numbers."""

    __test__ = False

    def __init__(self, bed, name, lcores, socket_mb, vdevs, options):
        command = [
            "stdbuf",
            "-oL",
            "dpdk-testpmd",
            "--lcores",
            lcores,
            "--main-lcore",
            "0",
            "--no-pci",
            "--in-memory",
            "--no-telemetry",
            "--socket-mem",
            str(socket_mb),
            "--single-file-segments",
        ]
        for vdev in vdevs:
            command += ["--vdev", vdev]
        self.process = Process(
            bed,
            name,
            command + ["--", "-i", "--nb-cores=1", "--no-mlockall", *options],
            stdin=subprocess.PIPE,
        )
        # With --in-memory it leaves nothing behind. An orderly end would take 10 s.
        bed.callback(self.process.kill)
        self._read = 0

    def wait_ready(self, timeout_s=30.0):
        def ready():
            self.process.check_alive()
            return _PROMPT in self.process.log_text()

        wait_until(
            ready,
            timeout_s,
            f"{self.process.name} shows no prompt; its log is {self.process.log_path}",
        )
        self._read = len(self.process.log_text())

    def command(self, line, timeout_s=20.0):
        """Runs one command and returns its output."""
        self.process.write(line + "\n")
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.process.log_text()[self._read :]
            # The first prompt precedes the command.
            end = text.find(_PROMPT, text.find(line) + len(line)) if line in text else -1
            if end >= 0:
                self._read += end + len(_PROMPT)
                return text[:end]
            self.process.check_alive()
            if time.monotonic() > deadline:
                raise TestbedError(f"{self.process.name} does not answer '{line}':\n{text[-500:]}")
            time.sleep(0.002)

    def clear(self):
        self.command("clear port stats all")
        self.command("clear fwd stats all")

    def received(self):
        """Returns {port number: packets received} since clear()."""
        return parse_received(self.command("show port stats all"))

    def cycles_per_packet(self):
        """Returns cycles a packet since clear(), of bursts that had packets. Needs
        --record-core-cycles."""
        return parse_cycles_per_packet(self.command("show fwd stats all"))


def parse_received(text):
    """Parses `show port stats all`. Returns {port: packets}."""
    found = {}
    for port, body in re.findall(
        r"NIC statistics for port (\d+)(.*?)(?=NIC statistics for port|\Z)", text, re.DOTALL
    ):
        packets = re.search(r"RX-packets:\s*(\d+)", body)
        if packets:
            found[int(port)] = int(packets.group(1))
    return found


def parse_cycles_per_packet(text):
    """Parses `show fwd stats all` with --record-core-cycles. Returns None without packets."""
    found = re.search(r"CPU cycles/packet=\s*([\d.]+)", text)
    return float(found.group(1)) if found else None
