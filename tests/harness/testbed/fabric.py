# SPDX-License-Identifier: Apache-2.0
"""Hosts and the networks between them: network namespaces, veth pairs, bridges that learn.

    host namespace: up0 ---- bridge "physical" in the fabric's namespace -- up0 of the other hosts
                    mgmt0 -- bridge "management" -------------------------- mgmt0 of the other hosts

up0 is the uplink that the switch drives by af_packet. It has no address and no IPv6, so the host's
kernel does not use it. mgmt0 has an address, for the peers' sessions and QEMU's migration stream.
lo is up.
"""

import os
import subprocess

from .bed import TestbedError
from .process import Process, wait_until


class Namespace:
    """A network namespace, held open by a process. It disappears when that process ends."""

    def __init__(self, bed, name):
        self.name = name
        self._holder = Process(bed, "namespace-" + name, ["unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        wait_until(
            lambda: self._unshared(own),
            5,
            f"no network namespace for {name}: {self._holder.log_tail()}",
        )
        self.run(
            "sh",
            "-c",
            "for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done || "
            "true",
        )
        self.ip("link set lo up")

    @property
    def pid(self):
        """Returns the id of a process in the namespace. `nsenter -t PID -n` enters it."""
        return self._holder.pid

    def prefix(self):
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def run(self, *arguments):
        """Runs a command in the namespace and returns its output."""
        done = subprocess.run(
            [*self.prefix(), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise TestbedError(f"{' '.join(arguments)} in {self.name}: {done.stderr.strip()}")
        return done.stdout

    def ip(self, *commands):
        for command in commands:
            self.run("ip", *command.split())

    def _unshared(self, own):
        self._holder.check_alive()
        try:
            return os.readlink(f"/proc/{self.pid}/ns/net") != own
        except FileNotFoundError:
            return False


class Host:
    """One host: its namespace, its management address and its directory for sockets."""

    UPLINK = "up0"

    def __init__(self, bed, name, index):
        self.name = name
        self.address = f"10.200.0.{index}"
        self.namespace = Namespace(bed, name)
        self.directory = os.path.dirname(bed.path(name, "."))

    def path(self, name):
        return os.path.join(self.directory, name)


class Fabric:
    """The hosts and the two networks that join them."""

    def __init__(self, bed, host_names, mtu=1500):
        self.namespace = Namespace(bed, "fabric")
        self.namespace.ip(
            "link add physical type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link add management type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set physical up",
            "link set management up",
        )
        self._hosts = {}
        for index, name in enumerate(host_names, start=1):
            host = Host(bed, name, index)
            self._join(host, Host.UPLINK, f"p{index}", "physical", mtu)
            self._join(host, "mgmt0", f"m{index}", "management", 1500)
            host.namespace.ip(f"address add {host.address}/24 dev mgmt0")
            self._hosts[name] = host

    def host(self, name):
        return self._hosts[name]

    def hosts(self):
        return list(self._hosts.values())

    def learned(self, mac):
        """Returns the host behind whose uplink the physical network has learned a MAC, or None."""
        for line in self.namespace.run("bridge", "fdb", "show", "br", "physical").splitlines():
            words = line.split()
            if words[0].lower() == mac.lower() and "permanent" not in words:
                port = words[words.index("dev") + 1]
                return list(self._hosts)[int(port[1:]) - 1]
        return None

    def set_uplink(self, host, up):
        """Pulls the cable of a host's uplink, or plugs it in."""
        host.namespace.ip(f"link set {Host.UPLINK} {'up' if up else 'down'}")

    def _join(self, host, inside, outside, bridge, mtu):
        self.namespace.ip(
            f"link add {outside} mtu {mtu} type veth peer name {inside} mtu {mtu} "
            f"netns {host.namespace.pid}",
            f"link set {outside} master {bridge}",
            f"link set {outside} up",
        )
        host.namespace.ip(f"link set {inside} up")
