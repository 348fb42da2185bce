# SPDX-License-Identifier: Apache-2.0
"""Hosts, a physical network and real VMs on one machine, for the demo and the system tests.

    with Testbed() as bed:                         # a temporary directory; ends all it started
        fabric = Fabric(bed, ["host-a", "host-b"])  # a namespace for each host, and a bridge
        daemon = Daemon(bed, fabric.host("host-a"), binary, config)
        vm = Vm(bed, VmSpec("vm7", ...))
        vm.boot(fabric.host("host-a"), socket)

No name collides with that of a second run: a process holds each namespace open, not a name.
Every process dies with the one that started it, even if that one is killed outright.
"""

from .agent import Agent, AgentTimeout
from .bed import Testbed, TestbedError
from .daemon import Daemon, RpcClient, RpcError
from .fabric import Fabric, Host, Namespace
from .guest import GuestImage, MigrationReport, Nic, Vm, VmSpec
from .process import Process

__all__ = [
    "Agent",
    "AgentTimeout",
    "Daemon",
    "Fabric",
    "GuestImage",
    "Host",
    "MigrationReport",
    "Namespace",
    "Nic",
    "Process",
    "RpcClient",
    "RpcError",
    "Testbed",
    "TestbedError",
    "Vm",
    "VmSpec",
]
