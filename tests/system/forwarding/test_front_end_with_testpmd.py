#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The vhost-user front-end against Debian's dpdk-testpmd.

The net_vhost ports of testpmd are librte_vhost 22.11, which our switch uses too. The tests need
root, dpdk-testpmd and hugepages of 2 MB (96 for each testpmd). Without them they skip themselves
and say why.
"""

import os
import shutil
import signal
import subprocess
import time

import pytest

from vhost_frontend.frontend import Frontend, FrontendError

MACS = ["02:00:00:00:00:%02x" % i for i in range(1, 9)]
PAGES_EACH = 96


def free_hugepages():
    with open("/proc/meminfo") as meminfo:
        for line in meminfo:
            if line.startswith("HugePages_Free"):
                return int(line.split()[1])
    return 0


class Switch:
    """A testpmd that forwards frames between two net_vhost ports, which are vhost-user clients."""

    def __init__(self, paths, queues=1, client=1):
        if os.geteuid() != 0 or shutil.which("dpdk-testpmd") is None:
            pytest.skip("needs root and dpdk-testpmd")
        if free_hugepages() < PAGES_EACH:
            pytest.skip(f"needs {PAGES_EACH} free hugepages, there are {free_hugepages()}")
        devices = []
        for i, path in enumerate(paths):
            devices += ["--vdev", f"net_vhost{i},iface={path},client={client},queues={queues}"]
        self._log = open(paths[0] + ".testpmd.log", "w+b")
        self.process = subprocess.Popen(
            [
                "stdbuf",
                "-oL",
                "dpdk-testpmd",
                "--lcores",
                "0@0,1@0",
                "--main-lcore",
                "0",
                "--no-pci",
                "--in-memory",
                "--socket-mem",
                "128",
                *devices,
                "--",
                "-i",
                "--auto-start",
                "--forward-mode=io",
                "--nb-cores=1",
                f"--rxq={queues}",
                f"--txq={queues}",
                "--total-num-mbufs=8192",
                "--max-pkt-len=9100",
                "--mbuf-size=9600",
                "--no-mlockall",
                "--disable-link-check",
            ],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait_until_it_forwards(self, timeout_s=20):
        deadline = time.monotonic() + timeout_s
        while True:
            with open(self._log.name, "rb") as log:
                if b"packets/burst=" in log.read():
                    return
            assert self.process.poll() is None, f"testpmd ended: see {self._log.name}"
            assert time.monotonic() < deadline, f"testpmd doesn't forward: see {self._log.name}"
            time.sleep(0.05)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self._log.close()


@pytest.fixture
def vms():
    with Frontend() as frontend:
        yield frontend
        assert frontend.quit() == 0  # a sanitizer's report also changes the exit code


@pytest.fixture
def switches():
    started = []

    def start(paths, **options):
        started.append(Switch([str(path) for path in paths], **options))
        started[-1].wait_until_it_forwards()
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()


def open_pair(vms, tmp_path, names=("a", "b"), **options):
    paths = [tmp_path / f"{name}.sock" for name in names]
    for i, (name, path) in enumerate(zip(names, paths)):
        vms.open(name, path, mac=MACS[i], **{"size": 1024, **options})
    return paths


def frame_of(length, mark=0):
    return bytes.fromhex("020000000002" "020000000001" "88b5") + bytes(
        (i + mark) & 0xFF for i in range(length - 14)
    )


def udp_frame(payload):
    """IPv4/UDP with a zero UDP checksum, to be made partial by the tool."""
    ip = bytearray(bytes.fromhex("45000000000040004011" "0000" "0a000001" "0a000002"))
    ip[2:4] = (28 + len(payload)).to_bytes(2, "big")
    ip[10:12] = (0xFFFF - ones_complement_sum(ip)).to_bytes(2, "big")
    udp = bytes.fromhex("9c409c41") + (8 + len(payload)).to_bytes(2, "big") + b"\0\0"
    return bytes.fromhex("020000000002" "020000000001" "0800") + bytes(ip) + udp + payload


def check_no_loss(account, count):
    assert account["received"] == count, account
    for what in ("lost", "duplicates", "out_of_order", "corrupt", "beyond"):
        assert account[what] == 0, (what, account)


def stream_across(vms, source, sink, count=2000, pps=10000, stream_id=1, **options):
    vms.sink(sink)
    vms.stream(stream_id, source, dst=MACS[1], pps=pps, count=count, **options)
    vms.stream_wait(stream_id)
    vms.sink_wait(sink, stream_id, count)
    vms.run(20)
    return vms.stats(sink)["streams"][str(stream_id)]


FEATURE_SETS = {
    "as Linux negotiates": {},
    "without mergeable buffers": {"mrg": 0},
    "without event index": {"event_idx": 0},
    "legacy header of 10 bytes": {"mrg": 0, "v1": 0},
    "three memory regions": {"regions": 3},
}


@pytest.mark.parametrize("options", FEATURE_SETS.values(), ids=FEATURE_SETS.keys())
def test_frames_cross_in_both_directions_unchanged(vms, switches, tmp_path, options):
    switches(open_pair(vms, tmp_path, **options))
    vms.wait("all", 20000)
    for source, sink in (("a", "b"), ("b", "a")):
        sent = [frame_of(length, mark) for mark, length in enumerate((60, 61, 64, 1000, 1514))]
        assert vms.send(source, sent) == len(sent)
        assert [bytes(frame) for frame in vms.recv(sink, len(sent))] == sent
    assert vms.info("a")["broken"] == ""


def test_frames_longer_than_a_buffer_are_chained_and_gathered(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path, mtu=9000))
    vms.wait("all", 20000)
    for length in (2036, 2037, 4000, 9000):
        sent = frame_of(length)
        assert vms.send("a", sent) == 1
        received = vms.recv("b", 1)
        assert [bytes(frame) for frame in received] == [sent]
        assert received[0].header["buffers"] == -(-(length + 12) // 2048)


def ones_complement_sum(data):
    total = sum(
        int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2)
    )
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_partial_checksum_can_be_completed_by_switch(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    sent = udp_frame(b"godwit" * 4)
    assert vms.send("a", sent, csum="partial") == 1
    received = vms.recv("b", 1)
    assert len(received) == 1
    assert received[0].data[:40] == sent[:40] and received[0].data[42:] == sent[42:]
    # net_vhost completes the checksum. The sum over addresses, protocol, length and the datagram
    # with its checksum is all ones.
    datagram = received[0].data[34:]
    pseudo = received[0].data[26:34] + bytes([0, 17]) + len(datagram).to_bytes(2, "big")
    assert ones_complement_sum(pseudo + datagram) == 0xFFFF


def test_each_queue_pair_carries_frames(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path, queues=2), queues=2)
    vms.wait("all", 20000)
    for queue in (0, 1):
        sent = frame_of(100, queue)
        assert vms.send("a", sent, queue=queue) == 1
        received = vms.recv("b", 1)
        assert [bytes(frame) for frame in received] == [sent]
        assert received[0].header["queue"] == queue


def test_front_end_connects_to_listening_switch(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path, server=0), client=0)
    vms.wait("all", 20000)
    check_no_loss(stream_across(vms, "a", "b"), 2000)


def test_numbered_packets_are_all_accounted_for(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    check_no_loss(stream_across(vms, "a", "b"), 2000)
    check_no_loss(stream_across(vms, "b", "a", stream_id=2, dip="fd00::2", size=200), 2000)


def test_rings_stop_and_resume_on_the_same_switch_without_loss(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    vms.sink("b")
    vms.stream(1, "a", dst=MACS[1], pps=5000, count=5000)
    for _ in range(3):
        vms.run(100)
        stopped = vms.stop("a")
        rings = stopped["rings"]["a"]
        assert rings[1]["base"] == rings[1]["used"]
        before = vms.streams()[1]["sent"]
        vms.run(50)
        assert vms.streams()[1]["sent"] == before
        vms.resume("a")
    vms.stream_wait(1)
    vms.sink_wait("b", 1, 5000)
    account = vms.stats("b")["streams"]["1"]
    check_no_loss(account, 5000)
    assert account["longest_gap_ns"] > 40_000_000


def test_rebooted_driver_starts_with_empty_rings(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    check_no_loss(stream_across(vms, "a", "b"), 2000)
    vms.reset("a")
    rings = vms.stop("a")["rings"]["a"]
    assert rings[1] == {"base": 0, "used": 0, "avail": 0}
    vms.resume("a")
    check_no_loss(stream_across(vms, "a", "b", stream_id=2), 2000)


@pytest.mark.parametrize("mode", ["shared", "copy", "dirty"])
def test_guest_moved_to_another_switch_continues(vms, switches, tmp_path, mode):
    here = open_pair(vms, tmp_path)
    there = [tmp_path / "a2.sock", tmp_path / "c.sock"]
    vms.open("a2", there[0], incoming=1)
    vms.open("c", there[1], mac=MACS[2], size=1024)
    switches(here)
    switches(there)
    vms.wait("a,b,c", 20000)
    vms.wait("a2", 20000, state="ready")
    vms.sink("all")
    vms.stream(1, "a", dst=MACS[1], pps=5000, count=3000)
    vms.stream(2, "b", dst=MACS[0], pps=5000, seconds=60)
    vms.run(150)
    moved = vms.migrate("a", on="a2", mode=mode, precopy_ms=100, pause_ms=50)
    if mode == "dirty":
        assert moved["pages_logged"] > 0
        assert moved["pages_missed"] == 0, "the device wrote pages that it did not log"
    assert vms.streams()[1]["from"] == "a2"
    vms.stream(3, "c", dst=MACS[0], pps=5000, count=1000)
    vms.stream_wait(1)
    vms.stream_wait(3)
    vms.sink_wait("b,c", 1, 3000)
    vms.sink_wait("a2", 3, 1000)
    at_b = vms.stats("b")["streams"]["1"]
    at_c = vms.stats("c")["streams"]["1"]
    at_a = vms.stats("a2")["streams"]
    # A stopped testpmd may have taken the last few frames off the ring. Between the two, the
    # front-end neither loses nor repeats a frame.
    assert at_b["received"] + at_c["received"] == 3000, (at_b, at_c)
    assert at_b["lost"] == at_b["duplicates"] == at_c["duplicates"] == 0
    check_no_loss(at_a["3"], 1000)
    assert at_a["2"]["received"] > 0 and at_a["2"]["duplicates"] == 0
    info = vms.info("a2")
    assert info["broken"] == "" and info["error"] == ""


def test_page_written_and_not_logged_is_detected(vms, switches, tmp_path):
    here = open_pair(vms, tmp_path)
    vms.open("a2", tmp_path / "a2.sock", incoming=1)
    switches(here)
    vms.wait("a,b", 20000)
    assert vms.log("a", "on")["logging"]
    assert vms.send("b", frame_of(60)) == 1
    assert len(vms.recv("a", 1)) == 1
    assert vms.log("a", "clear")["dirty_pages"] >= 2  # the buffer and the used ring
    vms.stop("a")
    # The other front-end has no switch. The guest is copied, but cannot start.
    with pytest.raises(FrontendError):
        vms.resume("a", on="a2", mode="dirty", timeout_ms=100)
    assert vms.info("a2")["pages_missed"] >= 2


def test_restarted_switch_continues_with_the_rings(vms, switches, tmp_path):
    paths = open_pair(vms, tmp_path)
    first = switches(paths)
    vms.wait("all", 20000)
    check_no_loss(stream_across(vms, "a", "b"), 2000)
    first.end(signal.SIGKILL)
    vms.wait("all", 5000, state="down")
    switches(paths)
    vms.wait("all", 20000)
    assert vms.send("a", frame_of(60)) == 1
    check_no_loss(stream_across(vms, "a", "b", stream_id=2), 2000)
    assert vms.info("a")["broken"] == ""


def test_paused_guest_receives_nothing_until_resumed(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    vms.pause("b")
    assert vms.send("a", [frame_of(60, i) for i in range(10)]) == 10
    assert vms.recv("b", 1, 200) == []
    vms.unpause("b")
    assert len(vms.recv("b", 10)) == 10


def test_arp_responder_answers_only_for_its_addresses(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    vms.arp_responder("b", ["10.0.0.2"])
    head = bytes.fromhex(
        "ffffffffffff"
        "020000000001"
        "0806"
        "0001080006040001"
        "020000000001"
        "0a000001"
        "000000000000"
    )
    vms.send("a", head + bytes([10, 0, 0, 3]))
    assert vms.recv("a", 1, 200) == []
    vms.send("a", head + bytes([10, 0, 0, 2]))
    reply = vms.recv("a", 1)[0].data
    assert reply[:42].hex() == (
        "020000000001"
        "020000000002"
        "0806"
        "0001080006040002"
        "020000000002"
        "0a000002"
        "020000000001"
        "0a000001"
    )


def test_idle_front_end_sleeps(vms, switches, tmp_path):
    switches(open_pair(vms, tmp_path))
    vms.wait("all", 20000)
    vms.run(100)

    def cpu_ticks():
        with open(f"/proc/{vms.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = cpu_ticks()
    time.sleep(1)
    assert cpu_ticks() - before <= 5
    # An eventfd wakes it, because nothing polls.
    assert vms.send("a", frame_of(60)) == 1
    assert len(vms.recv("b", 1)) == 1


def test_wrong_commands_are_refused(vms, tmp_path):
    vms.open("a", tmp_path / "a.sock")
    for line in (
        ["open", "a", f"path={tmp_path}/b.sock"],
        ["open", "b"],
        ["open", "b", "path=/nowhere/x.sock"],
        ["open", "b", f"path={tmp_path}/b.sock", "size=100"],
        ["open", "b", f"path={tmp_path}/b.sock", "colour=red"],
        ["send", "a", "hex=00"],
        ["send", "a", "hex=0g"],
        ["send", "nobody", "hex=0000"],
        ["stream", "1", "from=a", "dst=02:00:00:00:00:01", "pps=1"],
        ["stream", "1", "from=a", "dst=02:00:00:00:00:01", "pps=1", "count=1", "size=63"],
        ["resume", "a", "on=a"],
        ["wait", "a", "10"],
        ["nonsense"],
    ):
        with pytest.raises(FrontendError):
            vms.command(*line)
