# SPDX-License-Identifier: Apache-2.0
"""Moves of VMs whose ports are vhost-user servers: the front-end, as QEMU would, connects."""
from move_hosts import MOVERS, Hosts, hosts, run_moves, traffic


class ServerHosts(Hosts):
    server_ports = True

    def prepare(self, vm):
        """Waits, too, until the front-end has connected to the socket at the destination."""
        move = super().prepare(vm)
        there = [f"{nic}-{self.other(vm)}" for nic in MOVERS[vm]]
        self.vms.wait(there, 10000, state="ready")
        return move


def test_vm_with_server_port_moves_there_and_back(godwitd):
    with hosts(godwitd, kind=ServerHosts) as net:
        outcome = run_moves(net, "vm", traffic(pps=2000), moves=2)
        assert outcome.wrong() == [], str(outcome)
        assert net.unpoliced() == 0
