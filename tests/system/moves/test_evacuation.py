# SPDX-License-Identifier: Apache-2.0
"""One command evacuates a host: 100 VMs of 1,000 rules move, and their neighbors lose nothing.

The VMs are NICs of the vhost-user front-end, which stops and starts their rings as QEMU does. Memif
joins the two daemons. GODWIT_EVACUATION_VMS and GODWIT_EVACUATION_RULES change the numbers.
"""
import os
import shutil
import socket
import struct
import tempfile
import time
from pathlib import Path

import pytest
from switch import BUILD, Switch
from front_end_guests import BYSTANDER_RING, mac, wait_for
from vhost_frontend.frontend import Frontend

VMS = int(os.environ.get("GODWIT_EVACUATION_VMS", "100"))
RULES = int(os.environ.get("GODWIT_EVACUATION_RULES", "1000"))
STREAM_THERE, STREAM_BACK, STREAM_HOME = 1, 2, 3
STREAM_PPS = 2000  # each
ALLOWED_TYPE, FORBIDDEN_TYPE = 0x88B6, 0x88B7  # IEEE 802, local experimental


def vm_mac(number):
    return f"02:00:00:00:01:{number:02x}"


def rules_of(name):
    """Yields one rule that forwards ALLOWED_TYPE to a neighbor, and distinct rules that drop."""
    yield (
        f"flow create {name}/net0 ingress priority 2 pattern eth type is {ALLOWED_TYPE:#x} / end "
        "actions count / represented_port ethdev_port_id nb/net0 / end"
    )
    for i in range(RULES - 1):
        match = (
            f"ipv4 dst is 10.{i >> 8}.{i & 255}.1 / udp dst is {1000 + i}"
            if i
            else f"type is {FORBIDDEN_TYPE:#x}"
        )
        yield (
            f"flow create {name}/net0 ingress priority {1 if i else 0} pattern eth "
            f"{'/ ' if i else ''}{match} / end actions drop / end"
        )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TwoHosts:
    def __init__(self, godwitd, folder, vms):
        self.folder, self.vms = folder, vms
        self.names = [f"ev{n}" for n in range(VMS)]
        ports = {"a": free_port(), "b": free_port()}
        (folder / "all.flow").write_text(
            "".join(line + "\n" for name in self.names for line in rules_of(name))
        )
        here = [
            {
                "name": f"{n}/net0",
                "vhost": {"socket": str(folder / f"{n}-a.sock")},
                "macs": [vm_mac(i)],
            }
            for i, n in enumerate(self.names)
        ]
        self.a = self.switch(
            godwitd,
            "a",
            "b",
            ports,
            here + self.neighbours("na", "nc", "nb"),
            "server",
            {"rules_file": str(folder / "all.flow")},
        )
        self.b = self.switch(
            godwitd, "b", "a", ports, self.neighbours("nb", None, "na"), "client", {}
        )

    def drops(self):
        """Returns the drops of each switch, and the counters of its uplink and neighbors' ports."""
        return "".join(
            f"{switch.name}:\n{switch.text('show drops')}\n{switch.text('show port stats all')}\n"
            for switch in (self.a, self.b)
        )

    def neighbours(self, local, second, away):
        numbers = {"na": 1, "nb": 2, "nc": 3}
        out = [
            {
                "name": f"{n}/net0",
                "vhost": {"socket": str(self.folder / f"{n}.sock")},
                "macs": [mac(numbers[n])],
            }
            for n in (local, second)
            if n
        ]
        return out + [
            {"name": f"{away}/net0", "location": "uplink:physnet1", "macs": [mac(numbers[away])]}
        ]

    def switch(self, godwitd, name, peer, ports, endpoints, role, more):
        devargs = (
            f"net_memif0,role={role},id=0,socket={self.folder}/memif.sock,"
            "socket-abstract=no,bsize=2048,rsize=10"
        )
        config = {
            "uplinks": [{"name": "physnet1", "devargs": devargs}],
            "endpoints": endpoints,
            "memory": {
                "hugepages": False,
                "socket_mb": 512,
                "file_prefix": f"godwit-evacuation-{os.getpid()}-{name}",
                "mbufs": 65536,
            },
            "migration": {
                "listen": f"127.0.0.1:{ports[name]}",
                "peers": {f"host-{peer}": f"127.0.0.1:{ports[peer]}"},
                "vhost_template": f"{self.folder}/{{vm}}-{{nic}}-{name}.sock",
            },
        }
        return Switch(godwitd, self.folder, f"host-{name}", config | more).start()


@pytest.fixture(scope="module")
def hosts(godwitd):
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    started = []
    try:
        with Frontend(
            executable=str(BUILD / "tests" / "tools" / "vhost_frontend" / "vhost-frontend")
        ) as vms:
            made = TwoHosts.__new__(TwoHosts)
            made.a = made.b = None
            try:
                made.__init__(godwitd, folder, vms)
                for number, name in enumerate(("na", "nb", "nc"), 1):
                    vms.open(
                        name,
                        path=str(folder / f"{name}.sock"),
                        mac=mac(number),
                        size=BYSTANDER_RING,
                    )
                for number, name in enumerate(made.names):
                    vms.open(name, path=str(folder / f"{name}-a.sock"), mac=vm_mac(number), size=64)
                    vms.open(
                        f"{name}-b",
                        path=str(folder / f"{name}-net0-b.sock"),
                        mac=vm_mac(number),
                        size=64,
                        incoming=True,
                    )
                vms.wait(["na", "nb", "nc", *made.names], 60000)
                yield made
            finally:
                started = [switch for switch in (made.a, made.b) if switch is not None]
                codes = [switch.stop() for switch in started]
        for switch, code in zip(started, codes):
            assert code == 0, f"exit code {code}:\n{switch.log()[-4000:]}"
            assert (
                " error " not in switch.log() and "buffers were lost" not in switch.log()
            ), switch.log()[-4000:]
    finally:
        for switch in started:
            switch.stop()
        shutil.rmtree(folder)


def evacuation(hosts):
    return hosts.a.rpc.call("migrate.status")["evacuations"][-1]


@pytest.fixture(scope="module")
def evacuated(hosts):
    """The state before the evacuation, the figures of the streams, and the duration."""
    a, b, vms = hosts.a.rpc, hosts.b.rpc, hosts.vms
    digests = {name: a.call("migration.export", vm=name)["digest"] for name in hosts.names}
    vms.sink(["na", "nb", "nc"])
    vms.stream(STREAM_THERE, source="na", dst=mac(2), pps=STREAM_PPS, seconds=600)
    vms.stream(STREAM_BACK, source="nb", dst=mac(1), pps=STREAM_PPS, seconds=600)
    vms.stream(STREAM_HOME, source="na", dst=mac(3), pps=STREAM_PPS, seconds=600)
    vms.run(500)
    began = time.monotonic()
    started = a.call("migrate.start", all=True, peer="host-b")
    wait_for(lambda: evacuation(hosts)["prepared"] == len(started["started"]), 120, "all prepared")
    prepared_s = time.monotonic() - began
    for name in ("na", "nc"):
        a.call("migrate.cancel", vm=name)
    began = time.monotonic()
    for name in hosts.names:
        vms.migrate(name, on=f"{name}-b", precopy_ms=0, pause_ms=2)
    vms_s = time.monotonic() - began
    wait_for(
        lambda: evacuation(hosts)["done"] + evacuation(hosts)["failed"] == len(started["started"]),
        60,
        "all done",
    )
    streams = {stream["id"]: stream["sent"] for stream in vms.stream_stop()}
    for stream, sink in ((STREAM_THERE, "nb"), (STREAM_BACK, "na"), (STREAM_HOME, "nc")):
        vms.sink_wait(sink, stream, streams[stream], 5000)
    return {
        "digests": digests,
        "started": started,
        "prepared_s": prepared_s,
        "vms_s": vms_s,
        "streams": streams,
        "evacuation": evacuation(hosts),
    }


def test_evacuated_vms_arrive_with_the_same_rules(hosts, evacuated):
    done = evacuated["evacuation"]
    print(
        f"{VMS} VMs of {RULES} rules: prepared in {evacuated['prepared_s']:.2f} s "
        f"({VMS * RULES / evacuated['prepared_s']:.0f} rules a second), "
        f"moved in {evacuated['vms_s']:.2f} s ({VMS / evacuated['vms_s']:.1f} VMs a second; 2 ms "
        "pause each)"
    )
    assert (done["done"], done["rules"]) == (VMS, VMS * RULES)
    assert done["failed"] == 2, "moves failed other than the two cancelled ones of the neighbors"
    there = {name: hosts.b.rpc.call("migration.export", vm=name)["digest"] for name in hosts.names}
    assert there == evacuated["digests"]


def test_evacuated_vms_leave_only_their_location(hosts, evacuated):
    endpoints = {e["name"]: e for e in hosts.a.rpc.call("show.endpoints")["endpoints"]}
    for name in hosts.names:
        assert endpoints[f"{name}/net0"]["location"] == "uplink physnet1"
        assert sum(endpoints[f"{name}/net0"]["rules"].values()) == 0
    assert len(hosts.a.rpc.call("show.port.summary", port="all")["ports"]) == 3


def test_neighbors_during_evacuation_lose_nothing(hosts, evacuated):
    for stream, sink in ((STREAM_THERE, "nb"), (STREAM_BACK, "na"), (STREAM_HOME, "nc")):
        account = hosts.vms.stats(sink)["streams"][str(stream)]
        print(
            f"stream {stream}: {account['received']} packets, longest gap "
            f"{account['longest_gap_ns'] / 1e6:.1f} ms"
        )
        assert account["received"] == evacuated["streams"][stream], f"{account}\n{hosts.drops()}"
        assert [account[what] for what in ("lost", "duplicates", "corrupt", "out_of_order")] == [
            0,
            0,
            0,
            0,
        ], account


def test_evacuated_vms_work_under_their_rules(hosts, evacuated):
    vms = hosts.vms
    vms.sink("nb", False)
    vms.drain("nb")
    for number, name in enumerate(hosts.names):
        for kind in (FORBIDDEN_TYPE, ALLOWED_TYPE):
            frame = (
                bytes.fromhex((mac(2) + vm_mac(number)).replace(":", ""))
                + struct.pack("!HI", kind, number)
                + bytes(40)
            )
            assert vms.send(f"{name}-b", frame) == 1
    got = [frame.data[12:18] for frame in vms.recv("nb", VMS, 5000)]
    got += [frame.data[12:18] for frame in vms.recv("nb", 1, 50)]
    assert sorted(got) == [struct.pack("!HI", ALLOWED_TYPE, number) for number in range(VMS)]
    for host in (hosts.a, hosts.b):
        assert host.rpc.call("show.drops")["unpoliced_packets"] == 0


def test_move_show_lists_each_step(hosts, evacuated):
    moved = {move["vm"]: move for move in evacuated["started"]["started"]}
    text = hosts.a.text(f"migrate show {moved['ev0']['id']}")
    print(text)
    lines = text.splitlines()
    assert lines[0] == f"Move {moved['ev0']['id']} of ev0 to host-b: done"
    data = hosts.a.data(f"migrate show {moved['ev0']['id']}")
    states = [step["state"] for step in data["steps"]]
    assert states[0] in ("queued", "connecting") and states[-1] == "done"
    assert "handed-over" in states and "redirecting" in states
    at = [step["at_ms"] for step in data["steps"]]
    assert at == sorted(at) and all(line.count("|") == 2 for line in lines[4 : 4 + len(states)])
    assert 0 < data["blackout_ms"] < 10000
    status = hosts.a.text("migrate status")
    assert f"{VMS} done ({VMS * RULES} rules), 2 failed" in status
