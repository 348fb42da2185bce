# SPDX-License-Identifier: Apache-2.0
"""The contenders of `forward`, `attack` and `ports`: each is a switch on CPU 1 with its own traffic
generator on CPU 0.

A contender and its generator are stopped by SIGSTOP while others are measured, so they cost
nothing. They are set up once, and rounds are short. sample() measures one turn.
"""

import time
import types

from . import ovs, traffic
from .testpmd import Testpmd
from testbed.daemon import Daemon
from testbed.process import wait_until

CPU = 1
OWNER, PEER = "vm1/net0", "vm2/net0"
_WARM_S = 0.4


class Contender:
    """One switch between the generator's first ports. Subclasses have start(), processes(), clear()
    and cycles()."""

    name = ""

    def __init__(self, bed, generator):
        self.bed, self.generator = bed, generator

    def wait_traffic(self, timeout_s=30.0):
        """Waits until the switch delivers packets."""
        self.generator.testpmd.wait_ready()
        self.generator.testpmd.clear()
        wait_until(
            lambda: self.generator.delivered() > 0,
            timeout_s,
            f"{self.name} delivered no packet",
            0.2,
        )

    def halt(self):
        for process in (*self.processes(), self.generator.process):
            process.halt()

    def resume(self):
        for process in (self.generator.process, *self.processes()):
            process.check_alive()
            process.resume()

    def sample(self, seconds):
        """Measures one turn. Returns {"mpps": delivered packets, "cycles": busy cycles of the
        switch a packet}."""
        self.resume()
        try:
            time.sleep(_WARM_S)
            self.generator.testpmd.clear()
            self.clear()
            began, before = time.monotonic(), self.generator.delivered()
            time.sleep(seconds)
            delivered = self.generator.delivered() - before
            took = time.monotonic() - began
            return {"mpps": delivered / took / 1e6, "cycles": self.cycles()}
        finally:
            self.halt()


class Godwit(Contender):
    name = "godwit"

    def start(self, binary, rules, extra_endpoints=(), owners=(OWNER, PEER), config=None):
        """Starts godwitd. `rules` are lines of `flow create`."""
        rules_file = self.bed.path(self.name, "rules.flow")
        with open(rules_file, "w") as file:
            file.writelines(line + "\n" for line in rules)
        endpoints = [
            {"name": owner, "vhost": {"socket": path}, "macs": [f"02:00:00:00:00:{i + 1:02x}"]}
            for i, (owner, path) in enumerate(zip(owners, self.generator.sockets))
        ]
        whole = {
            "host": self.name,
            "workers": {"cpus": [CPU]},
            "memory": {
                "hugepages": True,
                "socket_mb": 256,
                "file_prefix": f"godwit-bench-{self.bed.directory[-8:]}-{self.name}",
            },
            "uplinks": [{"name": "physnet1", "devargs": "net_null0,no-rx=1"}],
            "endpoints": [*endpoints, *extra_endpoints],
            "rules_file": rules_file,
        } | (config or {})
        self.daemon = Daemon(
            self.bed, types.SimpleNamespace(name=self.name, namespace=None), binary, whole
        )
        self.daemon.start(timeout_s=120)
        self.clock_hz = self.worker()["cycles_per_second"]
        return self

    def processes(self):
        return [self.daemon.process]

    def clear(self):
        self._before = self.worker()

    def cycles(self):
        return cycles_between(self._before, self.worker())

    def worker(self):
        return self.daemon.rpc.call("show.workers")["workers"][0]


def background(bed, context, name, config):
    """Starts a daemon without a traffic generator and returns it. `config` extends a small
    configuration."""
    whole = {
        "host": name,
        "memory": {
            "hugepages": True,
            "socket_mb": 256,
            "file_prefix": f"godwit-bench-{bed.directory[-8:]}-{name}",
        },
    } | config
    daemon = Daemon(bed, types.SimpleNamespace(name=name, namespace=None), context.godwitd, whole)
    return daemon.start(timeout_s=120)


def cycles_between(before, after):
    """Returns the busy cycles a packet between two answers of show.workers, or None without
    packets."""
    packets = after["rx_packets"] - before["rx_packets"]
    return (after["busy_cycles"] - before["busy_cycles"]) / packets if packets else None


class TestpmdFloor(Contender):
    """No switching: packets of one net_vhost leave by the other."""

    __test__ = False
    name = "testpmd"

    def start(self):
        vdevs = [
            f"net_vhost{i},iface={path},client=1" for i, path in enumerate(self.generator.sockets)
        ]
        self._switch = Testpmd(
            self.bed,
            "floor",
            f"0@{traffic.CPU},1@{CPU}",
            128,
            vdevs,
            [
                "--auto-start",
                "--forward-mode=io",
                "--record-core-cycles",
                "--total-num-mbufs=16384",
            ],
        )
        self._switch.wait_ready()
        return self

    def processes(self):
        return [self._switch.process]

    def clear(self):
        self._switch.clear()

    def cycles(self):
        return self._switch.cycles_per_packet()


class Ovs(Contender):
    name = "ovs"

    def start(self, flows, ports=None):
        """Starts OVS. `flows` are lines for ovs-ofctl."""
        self.switch = ovs.OpenVswitch(self.bed, "ovs", CPU)
        for path in ports or self.generator.sockets:
            self.switch.add_port(path)
        self.switch.replace_flows(flows)
        return self

    def processes(self):
        return [self.switch.process]

    def clear(self):
        self.switch.clear()

    def cycles(self):
        return self.switch.statistics()["cycles"]
