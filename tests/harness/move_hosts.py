# SPDX-License-Identifier: Apache-2.0
"""Two hosts, a third machine and a learning switch between them, with VMs that move under traffic.

    with hosts(godwitd) as net:
        net.fabric.set(learn_ms=100)
        outcome = run_moves(net, "vm", traffic(pps=10000), moves=2)
        assert outcome.wrong() == [], outcome

`na` stays at host a, `nb` at host b, and `nc` is a separate machine on the fabric. A test selects
the moving VMs from MOVERS. All of them are NICs of the vhost-user front-end, which acts as QEMU: it
logs dirty pages, stops the rings at one switch and starts them at the other with their state.
Fabric and front-end run at the priority of the workers, so that a test measures the switches.
"""
import contextlib
import itertools
import os
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from switch import BUILD, Switch
from learning_switch.fabric import Fabric
from front_end_guests import BYSTANDER_RING, mac, wait_for
from vhost_frontend.frontend import Frontend

MOVERS = {
    "vm": ("vm",),
    "tag": ("tag",),
    "duo": ("duo0", "duo1"),
    "pal": ("pal",),
}  # NICs by VM. `tag` is on VLANS, the others are untagged.
NUMBERS = {"na": 1, "nb": 2, "nc": 3, "vm": 4, "tag": 5, "duo0": 6, "duo1": 7, "pal": 8}  # of NICs
VM_OF = {nic: vm for vm, nics in MOVERS.items() for nic in nics}
PEERS = ("na", "nb", "nc")
VLANS = (10, 20)
BROADCAST = "ff:ff:ff:ff:ff:ff"
RULES = [  # A policy to move that permits all test traffic.
    "flow create {nic} ingress priority 1 pattern eth / ipv4 / udp dst is 53 / end actions drop "
    "/ end",
    "flow create {nic} egress priority 1 pattern eth / ipv4 / udp dst is 5353 / end actions drop "
    "/ end",
    "flow create {nic} egress priority 9 pattern eth / end actions count / end",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def endpoint_of(nic):
    """Returns the name of a NIC in rules."""
    vm = VM_OF.get(nic, nic)
    return f"{vm}/net{MOVERS[vm].index(nic) if vm in MOVERS else 0}"


def hurry(pid):
    """Gives a process the priority of the workers, with which it shares CPUs here."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, -10)


class Hosts:
    server_ports = False  # The movers' ports: the switch listens, and the front-end connects.

    def __init__(
        self, godwitd, folder, vms, fabric, migration, ring, movers, more=None, links=None
    ):
        self.folder, self.vms, self.fabric, self.ring, self.movers = (
            folder,
            vms,
            fabric,
            ring,
            movers,
        )
        self.place = {vm: "a" for vm in movers}
        self.numbers = itertools.count(1)  # Of streams. Sinks never reuse a number.
        self.nics = [nic for vm in movers for nic in MOVERS[vm]]  # The NICs that move.
        self._migration = migration
        self._more = more or {}
        self._ports = {"a": free_port(), "b": free_port()}
        # The ports at which the other host finds each: those of the links, if there are any.
        self._reached = {
            host: links.lead_to(port) if links else port for host, port in self._ports.items()
        }
        self.switches = {}
        self.switches["a"] = self._switch(godwitd, "a", "b", ["na", *self.nics], ["nb", "nc"])
        self.switches["b"] = self._switch(godwitd, "b", "a", ["nb"], ["na", "nc", *self.nics])

    def socket(self, nic, host):
        return f"{self.folder}/{endpoint_of(nic).replace('/', '-')}-{host}.sock"

    def _switch(self, godwitd, name, peer, here, away):
        def endpoint(one):
            return {"name": endpoint_of(one), "macs": [mac(NUMBERS[one])]} | (
                {"vlans": list(VLANS)} if one == "tag" else {"ips": [f"10.0.0.{NUMBERS[one]}"]}
            )

        def vhost(one):
            mode = {"mode": "server"} if self.server_ports and one in self.nics else {}
            return {"socket": self.socket(one, name)} | mode

        local = [endpoint(one) | {"vhost": vhost(one)} for one in here]
        cpus = sorted(os.sched_getaffinity(0))
        config = {
            "uplinks": [{"name": "physnet1", "devargs": self.fabric.devargs(name)}],
            "endpoints": local + [endpoint(one) | {"location": "uplink:physnet1"} for one in away],
            "rules": [rule.format(nic=endpoint_of(nic)) for nic in self.nics for rule in RULES]
            if name == "a"
            else None,
            "workers": {
                "cpus": [cpus[0 if name == "a" else -1]],
                "idle": {"spin_us": 0, "max_sleep_us": 1000, "poll_us": 50},
            },
            "memory": {
                "hugepages": False,
                "socket_mb": 1024,
                "file_prefix": f"godwit-moves-{os.getpid()}-{name}",
                "mbufs": 131072,
            },
            "migration": {
                "listen": f"127.0.0.1:{self._ports[name]}",
                "peers": {f"host-{peer}": f"127.0.0.1:{self._reached[peer]}"},
                "vhost_template": f"{self.folder}/{{vm}}-{{nic}}-{name}.sock",
            }
            | (self._migration(name) if callable(self._migration) else self._migration),
        } | {
            key: yaml.safe_load(
                yaml.safe_dump(value).replace("HOST", name).replace("FOLDER", str(self.folder))
            )
            for key, value in self._more.items()
        }
        return Switch(godwitd, self.folder, f"host-{name}", config).start()

    def plug(self):
        options = {"size": self.ring, "tso": 0, "csum": 0}
        peers = options | {"size": max(self.ring, BYSTANDER_RING)}
        movers = options | ({"server": 0} if self.server_ports else {})
        for nic, at in [("na", "a"), ("nb", "b")]:
            self.vms.open(nic, path=self.socket(nic, at), mac=mac(NUMBERS[nic]), **peers)
        self.vms.open("nc", path=self.fabric.guest_socket("nc"), mac=mac(NUMBERS["nc"]), **peers)
        for nic in self.nics:
            self.vms.open(
                self.device(nic), path=self.socket(nic, "a"), mac=mac(NUMBERS[nic]), **movers
            )
        for nic in self.nics:
            self.vms.open(
                f"{nic}-b",
                path=self.socket(nic, "b"),
                mac=mac(NUMBERS[nic]),
                incoming=True,
                **movers,
            )
        self.vms.wait(self.devices(), 30000)
        self.vms.sink(self.devices())

    def device(self, nic):
        return nic if nic in PEERS else f"{nic}-{self.place[VM_OF[nic]]}"

    def devices(self):
        return [self.device(nic) for nic in (*PEERS, *self.nics)]

    def drops(self):
        return {
            name: switch.rpc.call("show.drops")["drops"] for name, switch in self.switches.items()
        }

    def unpoliced(self):
        return sum(
            switch.rpc.call("show.drops")["unpoliced_packets"] for switch in self.switches.values()
        )

    def other(self, vm):
        return "b" if self.place[vm] == "a" else "a"

    def prepare(self, vm):
        """Starts the VM's move to the other host. Returns its id once it is prepared."""
        here = self.switches[self.place[vm]].rpc
        move = here.call("migrate.start", vm=vm, peer=f"host-{self.other(vm)}")["id"]
        wait_for(lambda: self.status(self.place[vm], move)["state"] == "prepared", 10, "prepared")
        return move

    def move(self, vm, pause_ms, mode="dirty", meanwhile=None):
        """Moves a VM to the other host as QEMU does. Returns the final state of both sides."""
        return self.move_all([vm], pause_ms, mode, meanwhile)[0]

    def move_all(self, vms, pause_ms, mode="dirty", meanwhile=None):
        """Moves several VMs at once: all stop, then each starts at its destination.

        Calls `meanwhile` when they run.
        """
        started = [(vm, self.prepare(vm)) for vm in vms]
        nics = [nic for vm in vms for nic in MOVERS[vm]]
        targets = {nic: f"{nic}-{self.other(VM_OF[nic])}" for nic in nics}
        qemu = self._carry(nics, targets, pause_ms, mode)
        ended = []
        for vm, _ in started:
            self.place[vm] = self.other(vm)
        if meanwhile is not None:
            meanwhile()
        for vm, move in started:
            destination, source = self.place[vm], self.other(vm)
            wait_for(lambda: self.status(source, move)["state"] in ("done", "aborted"), 20, "done")
            wait_for(
                lambda: self.status(destination, move)["state"] in ("done", "aborted"),
                10,
                "done there",
            )
            ended.append(
                {
                    "source": self.status(source, move),
                    "destination": self.status(destination, move),
                    "qemu": qemu,
                    "steps": self.switches[source].data(f"migrate show {move}")["steps"],
                }
            )
        return ended

    def _carry(self, nics, targets, pause_ms, mode):
        if len(nics) == 1:
            qemu = self.vms.migrate(
                self.device(nics[0]),
                on=targets[nics[0]],
                mode=mode,
                precopy_ms=20,
                pause_ms=pause_ms,
            )
            assert (
                qemu.get("pages_missed", 0) == 0
            ), f"pages that were written and are not in the dirty log: {qemu}"
            return qemu
        for nic in nics:
            self.vms.log(self.device(nic), "on")
        self.vms.run(20)
        qemu = self.vms.stop([self.device(nic) for nic in nics])
        self.vms.run(pause_ms)
        for nic in nics:
            qemu["running_ns"] = self.vms.resume(self.device(nic), on=targets[nic], mode=mode)[
                "running_ns"
            ]
            missed = self.vms.info(targets[nic])["pages_missed"]
            assert (
                missed == 0
            ), f"{missed} pages of {nic} that were written and are not in the dirty log"
        return qemu

    def status(self, host, move):
        return next(
            status
            for status in reversed(self.switches[host].rpc.call("migrate.status")["moves"])
            if status["id"] == move
        )


@contextlib.contextmanager
def hosts(
    godwitd,
    migration=None,
    ring=1024,
    movers=("vm",),
    more=None,
    fabric=None,
    kind=Hosts,
    links=None,
):
    """Runs both hosts. The daemons must exit cleanly.

    `migration` has further keys of that section of the configuration, or is a function of "a" or
    "b" that returns them. `more` has other sections, in which HOST stands for a or b and FOLDER for
    the folder of the run. `fabric` makes another fabric than the learning switch from the folder.
    The hosts reach each other by `links` (peer_links) if they are given.
    """
    folder = Path(tempfile.mkdtemp(prefix="gw-"))  # Short, because paths of sockets are limited.
    net = kind.__new__(kind)
    learning_switch = BUILD / "tests" / "tools" / "learning_switch" / "learning-switch"
    net.switches = {}
    try:
        with (
            fabric(folder) if fabric else Fabric(learning_switch, folder, ["a", "b"], ["nc"])
        ) as between, Frontend(
            executable=str(BUILD / "tests" / "tools" / "vhost_frontend" / "vhost-frontend")
        ) as vms:
            if fabric is None:
                hurry(between.pid)
            hurry(vms.pid)
            try:
                net.__init__(
                    godwitd, folder, vms, between, migration or {}, ring, movers, more, links
                )
                net.plug()
                yield net
            finally:
                codes = {name: switch.stop() for name, switch in net.switches.items()}
        for name, code in codes.items():
            log = net.switches[name].log()
            assert code in (0, None), f"exit code {code}:\n{log[-4000:]}"
            assert " error " not in log and "buffers were lost" not in log, log[-4000:]
    finally:
        for switch in net.switches.values():
            switch.stop()
        if keep := os.environ.get("GODWIT_KEEP_LOGS"):
            for log in folder.glob("*.log"):
                shutil.copy(log, keep)
        shutil.rmtree(folder)


@dataclass
class Flow:
    """A stream of numbered packets and the receivers that must get each packet once, in order."""

    source: str
    to: str  # a name, or "all"
    pps: int
    receivers: tuple
    options: dict = field(default_factory=dict)


def traffic(vm="vm", pps=10000, vlans=(), broadcast_share=0.1, peers=PEERS):
    """Returns flows of `pps` packets a second from the VM and as many to it.

    They are unicast with each peer, and broadcast by all.
    """
    flows = []
    per_vlan = pps / max(1, len(vlans))
    for vlan in vlans or (None,):
        options = {} if vlan is None else {"vlan": vlan}
        unicast = max(1, int(per_vlan * (1 - broadcast_share) / len(peers)))
        for peer in peers:
            flows.append(Flow(vm, peer, unicast, (peer,), options))
            flows.append(Flow(peer, vm, unicast, (vm,), options))
        flows.append(
            Flow(vm, "all", max(1, int(per_vlan * broadcast_share)), tuple(peers), options)
        )
        for peer in peers:
            others = tuple(other for other in (*peers, vm) if other != peer)
            flows.append(
                Flow(
                    peer,
                    "all",
                    max(1, int(per_vlan * broadcast_share / len(peers))),
                    others,
                    options,
                )
            )
    return flows


class Outcome:
    """The result of all flows.

    For each flow and receiver it has the numbers of packets that were sent, received, lost,
    duplicated and out of order.
    """

    def __init__(self, net, flows, sent, moves, before, seconds, fabric_before):
        """`flows` maps the number of a stream to its flow."""
        self.moves, self.seconds = moves, seconds
        self.rows = []
        for number, flow in flows.items():
            for receiver in flow.receivers:
                account = net.vms.stats(net.device(receiver))["streams"].get(str(number), {})
                got = account.get("received", 0)
                self.rows.append(
                    {
                        "flow": f"{flow.source}->{flow.to}"
                        + (f" vlan {flow.options['vlan']}" if "vlan" in flow.options else ""),
                        "receiver": receiver,
                        "sent": sent[number],
                        "received": got,
                        "lost": sent[number] - got,
                        "duplicated": account.get("duplicates", 0),
                        "out_of_order": account.get("out_of_order", 0),
                        "corrupt": account.get("corrupt", 0),
                        "longest_gap_ms": round(account.get("longest_gap_ns", 0) / 1e6, 1),
                        "missing": account.get("missing", []),
                    }
                )
        after = net.drops()
        self.drops = {
            host: {
                k: v - before[host].get(k, 0)
                for k, v in after[host].items()
                if v != before[host].get(k, 0)
            }
            for host in after
        }
        now = net.fabric.stats()
        self.fabric = {
            k: now[k] - fabric_before[k]
            for k in now
            if isinstance(now[k], int) and now[k] != fabric_before[k]
        }
        self.fabric_lost = {
            p["name"]: n
            for p, b in zip(now["ports"], fabric_before["ports"])
            if (n := sum(p[k] - b[k] for k in ("tx_overflow", "tx_down", "no_copy")))
        }
        from_vm = sum(sent[n] for n, f in flows.items() if f.source in VM_OF)
        to_vm = sum(
            sent[n] for n, f in flows.items() for receiver in f.receivers if receiver in VM_OF
        )
        self.pps = {"from_vm": round(from_vm / seconds), "to_vm": round(to_vm / seconds)}

    def totals(self):
        sums = {
            k: sum(row[k] for row in self.rows)
            for k in ("sent", "received", "lost", "duplicated", "out_of_order", "corrupt")
        }
        gaps = [
            row["longest_gap_ms"]
            for row in self.rows
            if not {row["receiver"], row["flow"].split("->")[0]}.isdisjoint(VM_OF)
        ]
        waits = [m["source"].get("blackout_ms") or 0 for m in self.moves]
        return {
            "moves": len(self.moves),
            "seconds": round(self.seconds, 1),
            "pps": self.pps,
            **sums,
            "longest_gap_ms": max(gaps, default=0),
            "longest_blackout_ms": max(waits, default=0),
            "redirected": sum(m["source"]["redirected"] for m in self.moves),
            "drops": self.drops,
            "fabric_lost": self.fabric_lost,
        }

    def wrong(self):
        """Returns flows with lost, duplicated, reordered or damaged packets, and failed moves."""
        bad = [
            row
            for row in self.rows
            if row["lost"] or row["duplicated"] or row["out_of_order"] or row["corrupt"]
        ]
        return bad + [m for m in self.moves if m["source"]["error"] or m["destination"]["error"]]

    def __str__(self):
        return f"{self.totals()}; fabric {self.fabric}; wrong: {self.wrong()}"


def run_moves(
    net, vm, flows, moves, pause_ms=50, mode="dirty", settle_ms=100, each=None, seconds=3000
):
    """Starts the flows, makes the moves, stops the flows and waits for packets in transit.

    Several VMs move together.
    """
    vms = [vm] if isinstance(vm, str) else list(vm)

    def steps():
        for _ in range(moves):
            for moved in net.move_all(vms, pause_ms, mode):
                yield moved

    return run_flows(net, flows, steps(), settle_ms, each, seconds)


def run_flows(net, flows, steps, settle_ms=100, each=None, seconds=3000):
    """Runs the flows during `steps`, which yields its moves."""
    for device in net.devices():
        net.vms.stats(device, reset=True)
    drops, fabric = net.drops(), net.fabric.stats()
    # All addresses are known from the start, as on any network in use, even if nothing is flooded.
    vlans = {flow.options.get("vlan") for flow in flows}
    for name in sorted({flow.source for flow in flows}):
        for vlan in vlans:
            number = next(net.numbers)
            net.vms.stream(
                number,
                source=net.device(name),
                dst=BROADCAST,
                pps=1000,
                count=1,
                **({} if vlan is None else {"vlan": vlan}),
            )
            net.vms.stream_wait(number)
            net.vms.stream_stop(number)
    net.vms.run(200)
    began = time.monotonic()
    flows = {next(net.numbers): flow for flow in flows}
    for number, flow in flows.items():
        to = BROADCAST if flow.to == "all" else mac(NUMBERS[flow.to])
        net.vms.stream(
            number,
            source=net.device(flow.source),
            dst=to,
            pps=flow.pps,
            seconds=seconds,
            sip=f"10.0.0.{NUMBERS[flow.source]}",
            dip=f"10.0.0.{NUMBERS.get(flow.to, 255)}",
            **flow.options,
        )
    net.vms.run(settle_ms)
    done = []
    for moved in steps:
        done.append(moved)
        if each is not None:
            each(len(done), done[-1])
    net.vms.run(settle_ms)
    streams = net.vms.stream_stop()
    sent = {stream["id"]: stream["sent"] for stream in streams}
    took = time.monotonic() - began
    for number, flow in flows.items():
        for receiver in flow.receivers:
            net.vms.command("sink-wait", net.device(receiver), number, sent[number], 1000)
    return Outcome(net, flows, sent, done, drops, took, fabric)
