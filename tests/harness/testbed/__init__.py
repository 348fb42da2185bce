# SPDX-License-Identifier: Apache-2.0
"""Hosts, a physical network and real virtual machines on one machine, for the demo and the system tests.

    with Testbed() as bed:                         # a temporary directory; what is started here ends with it
        fabric = Fabric(bed, ["host-a", "host-b"])  # a network namespace a host, a learning bridge between them
        daemon = Daemon(bed, fabric.host("host-a"), binary, config)
        vm = Vm(bed, VmSpec("vm7", ...))
        vm.boot(fabric.host("host-a"), socket)

Nothing has a name that a second run could collide with: namespaces are held open by a process each, not by a name.
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
