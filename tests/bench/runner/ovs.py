# SPDX-License-Identifier: Apache-2.0
"""Runs Open vSwitch with DPDK from Debian's package openvswitch-switch-dpdk. It has its own
database, directories and sockets, so an Open vSwitch that the machine already runs is not touched.
"""

import os
import re
import subprocess

from testbed.bed import TestbedError
from testbed.process import Process, wait_until

_VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

# The configurations that users choose from, by their names in the output. All are measured, and the
# best one counts.
CONFIGURATIONS = {
    "EMC": {"emc-insert-inv-prob": "1", "smc-enable": "false"},
    "EMC 1 in 100": {"emc-insert-inv-prob": "100", "smc-enable": "false"},
    "SMC": {"emc-insert-inv-prob": "0", "smc-enable": "true"},
    "classifier": {"emc-insert-inv-prob": "0", "smc-enable": "false"},
}


def missing():
    """Returns why OVS cannot run here, or None if it can."""
    for path in (_VSWITCHD, _SCHEMA):
        if not os.path.exists(path):
            return f"{path} is missing; scripts/setup --bench installs openvswitch-switch-dpdk"
    return None


class OpenVswitch:
    """One ovs-vswitchd with one bridge and a PMD thread on `cpu`. Ports are vhost-user clients,
    numbered from 1."""

    def __init__(self, bed, name, cpu, socket_mb=512):
        self._bed = bed
        self._directory = os.path.dirname(bed.path(name, "run", "x"))
        self._environment = dict(
            os.environ,
            OVS_RUNDIR=self._directory,
            OVS_LOGDIR=self._directory,
            OVS_DBDIR=self._directory,
            OVS_SYSCONFDIR=self._directory,
        )
        database, remote = f"{self._directory}/conf.db", f"unix:{self._directory}/db.sock"
        self._remote = remote
        self._tool("ovsdb-tool", "create", database, _SCHEMA)
        self.database = Process(
            bed,
            f"{name}-ovsdb",
            [
                "ovsdb-server",
                database,
                f"--remote=p{remote}",
                f"--unixctl={self._directory}/ovsdb.ctl",
            ],
            environment=self._environment,
        )
        wait_until(
            lambda: os.path.exists(f"{self._directory}/db.sock"), 10, "ovsdb-server makes no socket"
        )
        self.set(
            {
                "dpdk-init": "true",
                "dpdk-socket-mem": str(socket_mb),
                "pmd-cpu-mask": hex(1 << cpu),
                "dpdk-extra": "--in-memory --no-pci --no-telemetry",
                "max-idle": "600000",
                "vlan-limit": "1",
                "flow-limit": "2000000",
                "userspace-tso-enable": "false",
            }
        )
        self._control = f"{self._directory}/vswitchd.ctl"
        self.process = Process(
            bed,
            f"{name}-vswitchd",
            [_VSWITCHD, remote, f"--unixctl={self._control}", "-vconsole:warn"],
            environment=self._environment,
        )
        self._vsctl(
            "add-br",
            "br0",
            "--",
            "set",
            "bridge",
            "br0",
            "datapath_type=netdev",
            "fail-mode=secure",
        )
        self._management = f"{self._directory}/br0.mgmt"
        self._ports = 0

    def add_port(self, path):
        """Adds a port and returns its number."""
        self._ports += 1
        name = f"vhost{self._ports}"
        self._vsctl(
            "add-port",
            "br0",
            name,
            "--",
            "set",
            "Interface",
            name,
            "type=dpdkvhostuserclient",
            f"options:vhost-server-path={path}",
            f"ofport_request={self._ports}",
        )
        return self._ports

    def set(self, values):
        """Sets other_config of the whole switch."""
        self._vsctl(
            "--no-wait",
            "set",
            "Open_vSwitch",
            ".",
            *[f'other_config:{key}="{value}"' for key, value in values.items()],
        )

    def configure(self, values):
        self.set(values)
        self._vsctl(
            "set", "bridge", "br0", "other_config:bench=1"
        )  # This command returns after ovs-vswitchd has applied all changes.

    def replace_flows(self, lines):
        path = self._bed.path("flows.ovs")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in lines)
        self._tool(
            "ovs-ofctl",
            "--bundle",
            "-O",
            "OpenFlow14",
            "replace-flows",
            f"unix:{self._management}",
            path,
            timeout_s=300,
        )

    def clear(self):
        self.control("dpif-netdev/pmd-stats-clear")

    def statistics(self):
        """Returns the figures of the PMD thread since clear()."""
        return parse_pmd_stats(self.control("dpif-netdev/pmd-stats-show"))

    def control(self, *words):
        return self._tool("ovs-appctl", "-t", self._control, *words)

    def _vsctl(self, *words):
        return self._tool("ovs-vsctl", f"--db={self._remote}", "--timeout=60", *words)

    def _tool(self, *command, timeout_s=90):
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise TestbedError(
                f"{' '.join(command[:4])}: still running after {timeout_s} s"
            ) from error
        if done.returncode != 0:
            raise TestbedError(f"{' '.join(command)[:200]}: {(done.stderr or done.stdout)[-500:]}")
        return done.stdout


def parse_pmd_stats(text):
    """Parses the first PMD thread of `dpif-netdev/pmd-stats-show`. Returns {"packets", "cycles",
    "busy_share", hits by kind}.

    `cycles` are busy cycles a packet, without loops that found no packet. It is None before any
    packet.
    """
    body = re.split(r"^main thread", text, flags=re.MULTILINE)[0]

    def number(pattern):
        found = re.search(pattern, body)
        return float(found.group(1)) if found else None

    found = {
        "packets": number(r"packets received: (\d+)"),
        "cycles": number(r"avg processing cycles per packet: ([\d.]+)"),
        "busy_share": number(r"processing cycles: \d+ \(([\d.]+)%\)"),
    }
    for name in (
        "simple match hits",
        "emc hits",
        "smc hits",
        "megaflow hits",
        "miss with success upcall",
        "avg. subtable lookups per megaflow hit",
    ):
        found[name] = number(re.escape(name) + r": ([\d.]+)")
    return found
