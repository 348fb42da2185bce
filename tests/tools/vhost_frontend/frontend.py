#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""NICs of virtual machines for system tests: a `vhost-frontend` process, with commands as methods.

    with Frontend() as vms:
        vms.open("vm1", path="/tmp/vm1.sock", mac="02:00:00:00:00:01")
        vms.open("vm2", path="/tmp/vm2.sock", mac="02:00:00:00:00:02")
        vms.wait("all", 5000)                       # rings of both run
        vms.send("vm1", frame)                      # bytes, or a list of bytes
        frames = vms.recv("vm2", count=1)           # a list of ReceivedFrame
        vms.sink("vm2")
        vms.stream(1, source="vm1", dst="02:00:00:00:00:02", pps=1000, seconds=2)
        vms.stream_wait(1)
        assert vms.stats("vm2")["streams"]["1"]["lost"] == 0

One process serves hundreds of devices. A refused command raises FrontendError. Times in replies are
CLOCK_MONOTONIC nanoseconds, comparable with time.monotonic_ns(). Not safe for several threads.
"""

import json
import os
import select
import subprocess
import time
from dataclasses import dataclass, field


class FrontendError(RuntimeError):
    """The tool refused a command or has ended."""


@dataclass
class ReceivedFrame:
    data: bytes
    # The fields of the virtio-net header (flags, gso_type, csum_start, ...), queue and time_ns.
    header: dict = field(default_factory=dict)

    def __bytes__(self):
        return self.data


def find_executable():
    """Returns $VHOST_FRONTEND, or else the newest executable in the build directories."""
    named = os.environ.get("VHOST_FRONTEND")
    if named:
        return named
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    found = []
    for place in [
        os.environ.get("GODWIT_BUILD", ""),
        os.path.join(root, "build"),
        os.path.join(root, "builddir"),
    ]:
        path = os.path.join(place, "tests", "tools", "vhost_frontend", "vhost-frontend")
        if place and os.access(path, os.X_OK):
            found.append(path)
    if not found:
        raise FrontendError("vhost-frontend is not built; build it or set $VHOST_FRONTEND")
    return max(found, key=os.path.getmtime)


def names_of(names):
    return names if isinstance(names, str) else ",".join(names)


class Frontend:
    def __init__(self, executable=None, lifetime_s=3600):
        self._process = subprocess.Popen(
            [executable or find_executable(), "--lifetime", str(lifetime_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self._process.pid

    def quit(self):
        """Ends the tool and returns its exit code."""
        try:
            self.command("quit")
            return self._process.wait(timeout=10)
        finally:
            self.kill()

    def kill(self):
        """Ends the process, by its id, and waits for it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    # Commands and replies.

    def _read_line(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        out = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                raise FrontendError(f"no answer within {timeout_s:.0f} s")
            part = os.read(out, 1 << 16)
            if not part:
                raise FrontendError(f"vhost-frontend ended with {self._process.wait()}")
            self._unread += part
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def command(self, verb, *words, timeout_s=30, **values):
        """Runs one command of the tool's `help`. Returns the reply without its "ok"."""
        parts = [verb] + [str(word) for word in words if word is not None]
        for key, value in values.items():
            if value is not None:
                parts.append(f"{key}={int(value) if isinstance(value, bool) else value}")
        line = " ".join(parts)
        if "\n" in line:
            raise FrontendError("a command must be one line")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise FrontendError(f"cannot write to vhost-frontend: {error}") from error
        reply = json.loads(self._read_line(timeout_s))
        if not reply.pop("ok"):
            raise FrontendError(f"{verb}: {reply['error']}")
        return reply

    # Devices.

    def open(self, name, path, **options):
        """Opens a device.

        Options: mac, server, incoming, queues, size, mem, mtu, regions, mrg, csum, tso, event_idx,
        features.
        """
        return self.command("open", name, path=path, **options)

    def close(self, names):
        return self.command("close", names_of(names))

    def list(self, names="all"):
        return self.command("list", names_of(names))["devices"]

    def info(self, name):
        return self.list(name)[0]

    def wait(self, names, timeout_ms=5000, state="running"):
        return self.command(
            "wait", names_of(names), timeout_ms, state=state, timeout_s=timeout_ms / 1000 + 30
        )

    def run(self, ms):
        """Runs streams and sinks for that time. They also run between commands."""
        return self.command("run", ms, timeout_s=ms / 1000 + 30)

    def events(self, name):
        return self.command("events", name)["events"]

    # Frames.

    def send(self, name, frames, count=1, **options):
        """Sends frames. Returns how many the ring took.

        Options: queue, csum="partial", gso_type, gso_size, header_length, timeout_ms.
        """
        if isinstance(frames, (bytes, bytearray)):
            frames = [frames]
        text = ",".join(bytes(frame).hex() for frame in frames)
        return self.command("send", name, hex=text, count=count, **options)["sent"]

    def recv(self, name, count=1, timeout_ms=1000):
        """Returns up to `count` frames, at the latest after the timeout."""
        reply = self.command("recv", name, count, timeout_ms, timeout_s=timeout_ms / 1000 + 30)
        return [ReceivedFrame(bytes.fromhex(frame.pop("hex")), frame) for frame in reply["frames"]]

    def drain(self, name):
        """Discards the received frames. Returns their number."""
        count = 0
        while got := len(self.recv(name, 4096, 0)):
            count += got
        return count

    # Numbered packets.

    def stream(self, stream_id, source, dst, pps, **options):
        """Options: count or seconds; src, dip, sip, sport, dport, flows, vlan, ttl, size, queue."""
        return self.command("stream", stream_id, **{"from": source}, dst=dst, pps=pps, **options)

    def streams(self):
        return {stream["id"]: stream for stream in self.command("streams")["streams"]}

    def stream_wait(self, stream_id="all", timeout_ms=60000):
        reply = self.command("stream-wait", stream_id, timeout_ms, timeout_s=timeout_ms / 1000 + 30)
        if not reply["done"]:
            raise FrontendError(
                f"stream {stream_id} is not done after {timeout_ms} ms: {reply['streams']}"
            )
        return reply["streams"]

    def stream_stop(self, stream_id="all"):
        return self.command("stream-stop", stream_id)["streams"]

    def sink(self, names, on=True):
        return self.command("sink", names_of(names), "on" if on else "off")

    def sink_wait(self, names, stream_id, count, timeout_ms=5000):
        """Waits until the sinks together have `count` distinct packets. Returns the number."""
        return self.command(
            "sink-wait",
            names_of(names),
            stream_id,
            count,
            timeout_ms,
            timeout_s=timeout_ms / 1000 + 30,
        )["received"]

    def stats(self, name, reset=False):
        """Returns {"streams": {"1": {received, lost, duplicates, ...}}, "rx_frames", ...}."""
        return self.command("stats", name, "reset" if reset else None)["devices"][name]

    def all_stats(self, reset=False):
        return self.command("stats", "all", "reset" if reset else None)["devices"]

    def arp_responder(self, name, ips):
        return self.command("arp-responder", name, ip=names_of(ips))

    # Rings.

    def stop(self, names, timeout_ms=5000):
        """Stops the rings, as QEMU does when a VM is paused. Returns their indices and when."""
        return self.command("stop", names_of(names), timeout_ms=timeout_ms)

    def resume(self, names, on=None, mode="shared", timeout_ms=5000):
        """Starts the rings again, here or at the front-end `on`.

        That front-end takes over the guest, its streams and its accounts.
        """
        return self.command("resume", names_of(names), on=on, mode=mode, timeout_ms=timeout_ms)

    def migrate(self, name, on, mode="dirty", precopy_ms=50, pause_ms=100):
        """Migrates the guest: logs, copies, stops, waits, copies dirty pages, starts it at `on`."""
        return self.command(
            "migrate",
            name,
            on=on,
            mode=mode,
            precopy_ms=precopy_ms,
            pause_ms=pause_ms,
            timeout_s=(precopy_ms + pause_ms) / 1000 + 60,
        )

    def reset(self, names):
        return self.command("reset", names_of(names))

    def pause(self, names):
        return self.command("pause", names_of(names))

    def unpause(self, names):
        return self.command("unpause", names_of(names))

    def log(self, name, what="show"):
        return self.command("log", name, what)

    def rarp(self, name):
        return self.command("rarp", name)
