# SPDX-License-Identifier: Apache-2.0
"""Kills one of two real switches (SIGKILL) in the middle of a move and starts it again.

A kill happens at a fault point or at a random time, under traffic. After each kill these hold:

- The VM has one owner: the host where its rings run. Its rules are unchanged, by digest.
- The other host has only the VM's name and location. No move is in progress.
- Forbidden packets have never arrived, and `unpoliced_packets` is 0. Permitted packets flow.
- The restarted switch resumed and decided the move within a second after EAL was up.

As a program it is the campaign of scripts/crash.
"""
import argparse
import contextlib
import datetime
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / room) for room in ("harness", "tools")]
from switch import BUILD  # noqa: E402
from front_end_guests import mac, wait_for  # noqa: E402
from move_hosts import NUMBERS, PEERS, Hosts, hosts  # noqa: E402
from testbed.bed import TestbedError  # noqa: E402
from testbed.daemon import RpcError  # noqa: E402
from vhost_frontend.frontend import FrontendError  # noqa: E402

RECOVERY_LIMIT_S = 1.0
OVER = ("done", "aborted")
DECIDED = ("prepared", "revoking", "redirecting", "claimed", "active", "open", *OVER)
# (side, when, point): each named step of a move, before or after it.
STEPS = [
    ("source", "before", "source send-offer"),
    ("destination", "before", "journal destination prepared"),
    ("destination", "after", "journal destination prepared"),
    ("source", "before", "journal source prepared"),
    ("source", "after", "journal source prepared"),
    ("source", "after", "source park"),
    ("source", "after", "source send-handover"),
    ("destination", "after", "destination keep-handover"),
    ("destination", "before", "destination publish"),
    ("destination", "after", "destination publish"),
    ("destination", "after", "journal destination active"),
    ("destination", "after", "destination send-active"),
    ("source", "before", "source rewrite-out"),
    ("source", "after", "source rewrite-out"),
    ("destination", "after", "destination release-direct"),
    ("source", "after", "source hold"),
    ("source", "after", "source release"),
    ("source", "after", "source close-window"),
    ("destination", "before", "journal destination done"),
    ("source", "before", "journal source done"),
]
FURTHER = [
    (side, when, point)
    for side, point in (
        ("source", "source record"),
        ("source", "source guard-rules"),
        ("source", "source pass-on"),
        ("source", "source seal-epoch"),
        ("source", "source send-barrier"),
        ("source", "source send-last-barrier"),
        ("source", "source send-done"),
        ("source", "source report-done"),
        ("source", "source send-offer"),
        ("source", "source send-handover"),
        ("source", "source park"),
        ("source", "journal source done"),
        ("destination", "destination record"),
        ("destination", "destination send-prepared"),
        ("destination", "destination announce"),
        ("destination", "destination enter"),
        ("destination", "destination send-barrier-ack"),
        ("destination", "destination close-window"),
        ("destination", "destination send-done-ack"),
        ("destination", "destination report-done"),
        ("destination", "journal destination done"),
        ("destination", "destination keep-handover"),
        ("destination", "journal destination active"),
    )
    for when in ("before", "after")
]
FORBIDDEN = {
    11: ("vm", "na", 53),
    12: ("vm", "nb", 53),
    13: ("nb", "vm", 5353),
    14: ("na", "vm", 5353),
}  # by RULES of move_hosts
PERMITTED = {
    1: ("vm", "na", 7000),
    2: ("vm", "nb", 7000),
    3: ("na", "vm", 7000),
    4: ("nb", "vm", 7000),
}


class KernelFabric:
    """A bridge in a namespace and a veth pair to each host.

    It replaces memif, whose server does not survive the death of a peer.
    """

    def __init__(self, _folder):
        self.namespace = f"gw-fabric-{os.getpid()}"
        self.interfaces = {host: f"gw{host}{os.getpid()}" for host in "ab"}
        # DPDK derives the 16-bit fanout group of an af_packet device from process and interface.
        # The indexes are far apart, so that two devices never get the same group.
        first = random.randrange(10000, 30000)
        self.indexes = {"a": first, "b": first ^ 0x8000}

    def __enter__(self):
        def ip(*words):
            subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

        try:
            ip("netns", "add", self.namespace)
            ip(
                "-n",
                self.namespace,
                "link",
                "add",
                "bridge",
                "type",
                "bridge",
                "mcast_snooping",
                "0",
            )
            ip("-n", self.namespace, "link", "set", "dev", "bridge", "up")
            for host, interface in self.interfaces.items():
                ip(
                    "link",
                    "add",
                    interface,
                    "index",
                    str(self.indexes[host]),
                    "type",
                    "veth",
                    "peer",
                    "name",
                    host,
                    "netns",
                    self.namespace,
                )
                ip("-n", self.namespace, "link", "set", "dev", host, "master", "bridge", "up")
                ip("link", "set", "dev", interface, "addrgenmode", "none", "up")
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"cannot run here: {' '.join(error.cmd)}: {error.stderr}")
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)

    def devargs(self, host):
        return f"net_af_packet0,iface={self.interfaces[host]}"


class CrashHosts(Hosts):
    def plug(self):
        for name, at in (("na", "a"), ("nb", "b"), ("vm", "a")):
            self.vms.open(
                name if name in PEERS else f"{name}-{at}",
                path=f"{self.folder}/{name}-net0-{at}.sock",
                mac=mac(NUMBERS[name]),
                tso=0,
                csum=0,
            )
        self.vms.open(
            "vm-b",
            path=f"{self.folder}/vm-net0-b.sock",
            mac=mac(NUMBERS["vm"]),
            incoming=True,
            tso=0,
            csum=0,
        )
        self.vms.wait(["na", "nb", "vm-a"], 30000)
        self.vms.sink(["na", "nb", "vm-a"])


class Violation(AssertionError):
    """A property that must hold was violated."""


class Crashes:
    def __init__(self, net, seed):
        self.net, self.random = net, random.Random(seed)
        self.kills = 0
        self.recoveries = []  # (seconds, what)
        self.digest = self.rpc("a").call("migration.export", vm="vm")["digest"]
        for number, (source, to, port) in {**FORBIDDEN, **PERMITTED}.items():
            net.vms.stream(
                number,
                source=net.device(source),
                dst=mac(NUMBERS[to]),
                pps=200,
                seconds=3000,
                dport=port,
                sip=f"10.0.0.{NUMBERS[source]}",
                dip=f"10.0.0.{NUMBERS[to]}",
            )

    def rpc(self, host):
        return self.net.switches[host].rpc

    def start(self, host, faults=None):
        """Starts the switch with these fault points. Returns the length of its log before."""
        switch = self.net.switches[host]
        config = yaml.safe_load(switch.config_path.read_text())
        config.pop("faults", None)
        if faults:
            config["faults"] = faults
        switch.config_path.write_text(yaml.safe_dump(config, sort_keys=False, width=1000))
        before = len(switch.log())
        switch.start()
        return before

    def dead(self, host):
        process = self.net.switches[host].process
        return process is None or process.poll() is not None

    def buried(self, host):
        switch = self.net.switches[host]
        switch.rpc.close()
        switch.process.wait()
        switch.process = None

    def revive(self):
        """Starts dead switches again after a violation, for the next cycles."""
        self.bury_all()
        for host in "ab":
            if self.net.switches[host].process is None:
                self.start(host)

    def bury_all(self):
        for host in "ab":
            if self.net.switches[host].process is not None and self.dead(host):
                self.buried(host)

    def moves(self, host):
        return self.rpc(host).call("migrate.status")["moves"]

    def cycle(self, side, faults=None, kill_after_s=None):
        """Makes one move from the VM's host and one kill.

        Returns the killed host, or None if the fault point was not reached.
        """
        net = self.net
        source = net.place["vm"]
        destination = "b" if source == "a" else "a"
        victim = source if side == "source" else destination
        if faults:
            if net.switches[victim].stop() != 0:
                raise Violation(
                    f"host {victim} did not end well: {net.switches[victim].log()[-2000:]}"
                )
            self.start(victim, faults)
            net.vms.wait(
                [*(n for n, at in (("na", "a"), ("nb", "b")) if at == victim), net.device("vm")],
                10000,
            )
        deadline = None if kill_after_s is None else time.monotonic() + kill_after_s
        self.move(source, destination, victim, deadline)
        if deadline is not None and not self.dead(victim):
            time.sleep(max(0.0, deadline - time.monotonic()))
            net.switches[victim].process.kill()
        with contextlib.suppress(AssertionError):
            wait_for(
                lambda: self.dead(victim) or self.finished(),
                8,
                "the fault point is reached or the move is over",
            )
        if not self.dead(victim):
            self.settle()
            return None
        self.kills += 1
        self.buried(victim)
        log_from = self.start(victim)
        self.settle()
        self.check(victim, log_from)
        return victim

    def move(self, source, destination, victim, deadline):
        """Makes the move, up to the step that the running switches allow."""
        net = self.net

        def on_time():
            if deadline is not None and time.monotonic() >= deadline and not self.dead(victim):
                net.switches[victim].process.kill()
                net.switches[victim].process.wait()
            return self.dead(victim)

        try:
            self.rpc(source).call("migrate.start", vm="vm", peer=f"host-{destination}")
            wait_for(
                lambda: on_time() or self.moves(source)[-1]["state"] in ("prepared", *OVER),
                10,
                "prepared",
            )
            if on_time() or self.moves(source)[-1]["state"] != "prepared":
                return
        except RpcError:
            raise
        except TestbedError:
            return  # The daemon is dead.
        with contextlib.suppress(FrontendError):
            net.vms.stop(f"vm-{source}", timeout_ms=1000)
        net.vms.run(20)
        on_time()
        # The VM resumes at the destination. If the destination is dead, QEMU may also resume the VM
        # at the source. It must do so if the source aborted the move before the VM stopped.
        if self.given_up(source) or (self.dead(destination) and self.random.random() < 0.5):
            with contextlib.suppress(FrontendError):
                net.vms.resume(f"vm-{source}", timeout_ms=300)
            return
        with contextlib.suppress(FrontendError):
            net.vms.resume(f"vm-{source}", on=f"vm-{destination}", timeout_ms=300)
        net.place["vm"] = destination

    def given_up(self, source):
        try:
            return not self.dead(source) and self.moves(source)[-1]["state"] == "aborted"
        except RpcError:
            raise
        except TestbedError:
            return False

    def finished(self):
        try:
            return all(
                move["state"] in OVER
                for host in "ab"
                if not self.dead(host)
                for move in self.moves(host)
            )
        except RpcError:
            raise
        except TestbedError:
            return False  # One has just died.

    def settle(self):
        """Waits until no move is in progress.

        Cancels a move that waits for QEMU again while the VM runs at the source.
        """
        net = self.net
        net.vms.wait(["na", "nb", net.device("vm")], 10000)

        def settled():
            going = [
                (host, move)
                for host in "ab"
                for move in self.moves(host)
                if move["state"] not in OVER
            ]
            for host, move in going:
                if (
                    move["role"] == "source"
                    and move["state"] == "prepared"
                    and net.place["vm"] == host
                ):
                    with contextlib.suppress(RpcError):
                        self.rpc(host).call("migrate.cancel", vm="vm")
            return not going

        try:
            wait_for(settled, 15, "both hosts know how the move ended")
        except AssertionError as error:
            raise Violation(f"{error}: {[self.moves(host) for host in 'ab']}") from error

    def check(self, victim, log_from):
        net = self.net
        # Parked packets leave in order before the VM's location is its port again, which takes a
        # moment.
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.ownership(), 1, "one owner")
        wrong = self.ownership() + self.traffic()
        seconds, what = recovery(net.switches[victim].log()[log_from:])
        self.recoveries.append((seconds, what))
        if seconds > RECOVERY_LIMIT_S:
            wrong.append(
                f"{seconds:.2f} s from EAL being up to: "
                f"{what}\n{net.switches[victim].log()[log_from:]}"
            )
        if wrong:
            raise Violation("; ".join(wrong))

    def ownership(self):
        """Returns the violations of the ownership of the VM and its rules."""
        here = self.net.place["vm"]
        there = "b" if here == "a" else "a"
        wrong = []
        for host in "ab":
            found = next(
                (
                    e
                    for e in self.rpc(host).call("show.endpoints")["endpoints"]
                    if e["name"] == "vm/net0"
                ),
                None,
            )
            local = found is not None and found["location"].startswith("port ")
            if local != (host == here):
                wrong.append(f"host {host} has the VM as {found}, and it runs at host {here}")
            if (
                host == there
                and found is not None
                and (found["location"] != "uplink physnet1" or any(found["rules"].values()))
            ):
                wrong.append(f"host {host} still has {found}")
            if unpoliced := self.rpc(host).call("show.drops")["unpoliced_packets"]:
                wrong.append(f"{unpoliced} unpoliced packets at host {host}")
        if any(
            port["name"] == "vm/net0"
            for port in self.rpc(there).call("show.port.summary", port="all")["ports"]
        ):
            wrong.append(f"host {there} still has its port")
        digest = self.rpc(here).call("migration.export", vm="vm")["digest"]
        if digest != self.digest:
            wrong.append(f"the rules' digest is {digest}, not {self.digest}")
        return wrong

    def received(self, table):
        return {
            number: self.net.vms.stats(self.net.device(to))["streams"]
            .get(str(number), {})
            .get("received", 0)
            for number, (_, to, _) in table.items()
        }

    def traffic(self):
        """Returns the violations in the traffic.

        Permitted packets must flow again within two seconds; forbidden ones must never arrive.
        """
        before = self.received(PERMITTED)
        try:
            wait_for(
                lambda: all(
                    now >= before[number] + 10 for number, now in self.received(PERMITTED).items()
                ),
                2,
                "traffic",
            )
        except AssertionError:
            now = self.received(PERMITTED)
            return [
                f"{source} -> {to}: {now[number] - before[number]} packets in two seconds"
                for number, (source, to, _) in PERMITTED.items()
                if now[number] < before[number] + 10
            ]
        return [
            f"{count} forbidden packets {FORBIDDEN[number]} arrived"
            for number, count in self.received(FORBIDDEN).items()
            if count
        ]


def recovery(log):
    """Returns the time of a recovery in seconds, and its last event.

    The time runs from the end of EAL's start until the in-doubt move is decided. If no move was in
    doubt, it runs until the switch is ready.
    """
    up = ready = None
    for line in log.splitlines():
        try:
            at = datetime.datetime.strptime(
                line.split(" ", 1)[0], "%Y-%m-%dT%H:%M:%S.%f"
            ).timestamp()
        except ValueError:
            continue
        what = line.split(" ", 2)[2]
        if up is None:
            up = at if what == "EAL is up" else None
        elif what.startswith("move ") and (
            any(f"-> {state} on" in what for state in DECIDED) or "after a restart" in what
        ):
            return at - up, what
        elif what.startswith("ready: "):
            ready = at - up, what
    if ready is not None and ": recovered as " not in log:
        return ready
    return float("inf"), f"never: {log[-3000:]}"


@contextlib.contextmanager
def crashes(godwitd, seed):
    more = {
        "state": {"directory": "FOLDER/state-HOST"},
        "memory": {
            "hugepages": False,
            "socket_mb": 192,
            "file_prefix": f"godwit-crash-{time.monotonic_ns()}-HOST",
            "mbufs": 16384,
        },
    }
    with hosts(godwitd, more=more, fabric=KernelFabric, kind=CrashHosts) as net:
        yield Crashes(net, seed)


class Campaign:
    def __init__(self, kills, seed, point):
        self.kills, self.seed = kills, seed
        self.plan = random.Random(seed)
        self.points = [one for one in STEPS + FURTHER if point in (None, f"{one[1]} {one[2]}")]
        self.points_only = point is not None
        self.done = self.tried = 0
        self.violations, self.unreached, self.recoveries = [], [], []

    def next(self):
        """Yields a name and the arguments of each cycle.

        Each fault point comes once; then points and random times follow at random.
        """
        self.tried += 1
        if self.tried <= len(self.points) or self.points_only or self.plan.random() < 0.5:
            side, when, point = (
                self.points[self.tried - 1]
                if self.tried <= len(self.points)
                else self.plan.choice(self.points)
            )
            return f"{when} {point}", {"side": side, "faults": [{when: point}]}
        side, after_s = self.plan.choice(["source", "destination"]), self.plan.uniform(0, 1.8)
        return f"{side} {after_s * 1000:.0f} ms after the start", {
            "side": side,
            "kill_after_s": after_s,
        }

    def violated(self, what, error):
        self.violations.append(f"{what}: {error}")
        print(f"VIOLATION {what}: {error}", flush=True)

    def run(self):
        """Runs cycles on new switches until one fails."""
        before, made = self.done, None
        try:
            with crashes(BUILD / "control" / "godwitd", self.seed + before) as made:
                while self.done < self.kills and self.cycle(made):
                    self.done = before + made.kills
        except (AssertionError, TestbedError, FrontendError) as error:
            self.violated("the switches, at the start or the end of a run", error)
        if made is not None:
            self.done = before + made.kills
            self.recoveries += made.recoveries

    def cycle(self, made):
        what, arguments = self.next()
        try:
            if made.cycle(**arguments) is None:
                self.unreached.append(what)
                print(f"{what}: not reached", flush=True)
            else:
                seconds, how = made.recoveries[-1]
                print(f"{self.done + 1:4} {what}: {seconds * 1000:.0f} ms, {how}", flush=True)
            return True
        except (Violation, AssertionError, FrontendError, TestbedError) as error:
            self.violated(what, error)
            made.bury_all()
            return False


def main():
    parser = argparse.ArgumentParser(
        description="Kills switches during moves, restarts them and checks their state."
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--point", help="only this one, as `after destination publish`")
    options = parser.parse_args()
    campaign = Campaign(options.kills, options.seed, options.point)
    if not campaign.points:
        parser.error(
            f"no such point; one of {[f'{when} {point}' for _, when, point in STEPS + FURTHER]}"
        )
    began = time.monotonic()
    while campaign.done < options.kills and len(campaign.violations) < 50:
        campaign.run()
    times = sorted(seconds for seconds, _ in campaign.recoveries) or [0.0]
    unreached = sorted(set(campaign.unreached))
    print(
        f"{time.monotonic() - began:.0f} s; {len(unreached)} points were not reached: {unreached}"
    )
    print(
        f"recovery: median {times[len(times) // 2] * 1000:.0f} ms, 99 % "
        f"{times[int(len(times) * 0.99)] * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms"
    )
    for violation in campaign.violations:
        print(f"VIOLATION {violation}")
    print(f"{campaign.done} kills, {len(campaign.violations)} violations")
    return 1 if campaign.violations else 0


if __name__ == "__main__":
    sys.exit(main())
