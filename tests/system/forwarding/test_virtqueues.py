# SPDX-License-Identifier: Apache-2.0
"""Every kind of virtqueue of a guest, with DPDK's virtio-user as the driver.

Frames of all sizes cross the switch between two guests and arrive complete and in order. The QEMU
guests of other tests have split rings.
"""
import os
import random
import shutil
import struct
import sys
import time

import pytest
from switch import REPO
from front_end_guests import free_hugepages

sys.path.insert(0, str(REPO / "tests" / "bench"))

from runner.testpmd import Testpmd  # noqa: E402
from testbed.bed import Testbed  # noqa: E402
from testbed.process import wait_until  # noqa: E402

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
FRAMES = 6000
PAGES = 160
# Feature bits of the virtio specification.
MRG_RXBUF, RING_PACKED, IN_ORDER = 1 << 15, 1 << 34, 1 << 35
KINDS = {
    "split": ("in_order=0,mrg_rxbuf=0,packed_vq=0", 0),
    "split-mergeable": ("in_order=0,mrg_rxbuf=1,packed_vq=0", MRG_RXBUF),
    "split-in-order": ("in_order=1,mrg_rxbuf=1,packed_vq=0", MRG_RXBUF | IN_ORDER),
    "packed": ("in_order=0,mrg_rxbuf=0,packed_vq=1", RING_PACKED),
    "packed-mergeable": ("in_order=0,mrg_rxbuf=1,packed_vq=1", MRG_RXBUF | RING_PACKED),
    "packed-in-order": ("in_order=1,mrg_rxbuf=1,packed_vq=1", MRG_RXBUF | RING_PACKED | IN_ORDER),
}


def frames(seed):
    """Yields numbered frames from the first guest to the second, of 60 to 1514 bytes."""
    chance = random.Random(seed)
    head = bytes.fromhex((MACS[1] + MACS[0]).replace(":", "")) + b"\x88\xb5"
    for number in range(FRAMES):
        size = chance.choice((60, 64, 128, 594, 1024, 1514, chance.randint(60, 1514)))
        yield head + struct.pack("!I", number) + chance.randbytes(size - len(head) - 4)


def write_capture(path, data):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame in data:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def read_capture(path):
    """Returns the frames of a capture. The last one may be incomplete and is left out."""
    with open(path, "rb") as file:
        data = file.read()
    found, at = [], 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        if at + 16 + length > len(data):
            break
        found.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def wait_for_rings(switch):
    """Waits until the rings of all guests run. Returns the shown port of each endpoint."""
    found = {}

    def running():
        shown = switch.rpc.call("show.port.info", port="all")["ports"]
        found.update({port["name"]: port for port in shown if port["name"].startswith("vm")})
        return all(port["rings_running"] for port in found.values())

    wait_until(running, 20, "the guests' rings do not run")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_frames_cross_every_kind_of_virtqueue(make_switch, folder, kind):
    if shutil.which("dpdk-testpmd") is None or os.geteuid() != 0:
        pytest.skip("cannot run here: needs root and dpdk-testpmd")
    if free_hugepages() < PAGES:
        pytest.skip(f"cannot run here: needs {PAGES} free hugepages, there are {free_hugepages()}")
    options, wanted = KINDS[kind]
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    sent, capture, received = list(frames(seed)), folder / "sent.pcap", folder / "received.pcap"
    write_capture(capture, sent)
    sockets = [str(folder / "one.sock"), str(folder / "two.sock")]
    endpoints = [
        {"name": f"vm{i + 1}/net0", "vhost": {"socket": path}, "macs": [MACS[i]]}
        for i, path in enumerate(sockets)
    ]
    with Testbed() as bed:
        vdevs = [f"net_pcap0,rx_pcap={capture}"]
        vdevs += [
            f"net_virtio_user{i},path={path},server=1,queue_size=256,mac={MACS[i]},{options}"
            for i, path in enumerate(sockets)
        ]
        vdevs += [f"net_pcap1,tx_pcap={received}"]
        guests = Testpmd(
            bed,
            "guests",
            "0@0,1@0",
            128,
            vdevs,
            [
                "--forward-mode=io",
                "--total-num-mbufs=8192",
                "--disable-link-check",
                "--no-flush-rx",
            ],
        )
        wait_until(lambda: os.path.exists(sockets[0]), 30, "testpmd does not listen")
        switch = make_switch(endpoints=endpoints).start()
        guests.wait_ready()
        ports = wait_for_rings(switch)
        for endpoint in endpoints:
            got = ports[endpoint["name"]]["features"]
            assert (
                got & (MRG_RXBUF | RING_PACKED | IN_ORDER) == wanted
            ), f"{endpoint['name']}: features {got:#x}"
        wait_until(
            lambda: all(
                "Link status: up" in guests.command(f"show port info {port}") for port in (1, 2)
            ),
            20,
            "no link",
        )
        guests.command("set fwd io retry")
        guests.command(
            "set burst tx delay 5 retry 100000"
        )  # testpmd waits for a full ring and drops nothing
        guests.command("start")
        end = time.monotonic() + 20
        while guests.received()[2] < FRAMES and time.monotonic() < end:
            time.sleep(0.05)
        guests.command("stop")
        # All written packets are on the disk when the port is closed.
        guests.command("port stop all")
        guests.command("port close 3")
        arrived = read_capture(received)
        drops = switch.rpc.call("show.drops")
    assert drops["drops"] == {} and drops["unpoliced_packets"] == 0, drops
    assert len(arrived) == len(sent), f"{len(arrived)} of {len(sent)} arrived (seed {seed})"
    assert arrived == sent, f"not the same frames, or not in their order (seed {seed})"
