# SPDX-License-Identifier: Apache-2.0
"""A running switch with guests, and the frames that tests send through it.

    with network(godwitd, GUESTS) as net:
        with net.rules("vm1/net0 ingress pattern eth / end actions drop / end"):
            assert net.exchange("vm1", [frame]) == []

A guest is a NIC of the vhost-user front-end. No test waits for silence: each exchange ends with a
marker that takes the same path after the frames. A frame that did not arrive before the marker was
dropped.
"""
import contextlib
import itertools
import shutil
import struct
import tempfile
import time
from pathlib import Path

from switch import BUILD, Switch
from vhost_frontend.frontend import Frontend

MARKER_TYPE = 0x88B5  # IEEE 802, local experimental
MARKER_TIMEOUT_S = 10
# The ring size of guests whose loss a test counts. QEMU's 256 descriptors are full after 128 ms at
# 2,000 packets a second, and a busy machine may delay the front-end for longer.
BYSTANDER_RING = 4096
NEEDS_CSUM = 1  # virtio-net header flag


def free_hugepages():
    with open("/proc/meminfo") as meminfo:
        return next(
            (int(line.split()[1]) for line in meminfo if line.startswith("HugePages_Free")), 0
        )


def mac(number):
    return f"02:00:00:00:00:{number:02x}"


def ones_sum(data):
    """Returns the Internet checksum (RFC 1071) of bytes."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def finished(frame):
    """Returns the bytes of a ReceivedFrame.

    Completes the checksum that its virtio-net header leaves to the guest.
    """
    data = bytearray(frame.data)
    if frame.header["flags"] & NEEDS_CSUM:
        start, at = (
            frame.header["csum_start"],
            frame.header["csum_start"] + frame.header["csum_offset"],
        )
        struct.pack_into("!H", data, at, ones_sum(bytes(data[start:])) or 0xFFFF)
    return bytes(data)


class Network:
    """A switch with guests.

    `guests` maps a name to {"endpoint": configuration keys, "nic": options of the front-end}.
    """

    def __init__(self, switch, vms, guests):
        self.switch = switch
        self.rpc = switch.rpc
        self.vms = vms
        self.guests = guests
        self._numbers = itertools.count(1)
        self._receivers = {}  # Sender -> the receivers of its markers.

    # Rules.

    def create(self, text):
        """Creates the rule `PORT ATTRIBUTES pattern ... actions ...`. Returns its (port, id)."""
        return text.split()[0], self.rpc.call("flow.create", text=text)["id"]

    def destroy(self, rule):
        self.rpc.command(f"flow destroy {rule[0]} rule {rule[1]}")

    @contextlib.contextmanager
    def rules(self, *texts):
        """Creates rules and destroys them at the end. Yields a list of their (port, id)."""
        made = []
        try:
            for text in texts:
                made.append(self.create(text))
            yield made
        finally:
            for rule in reversed(made):
                self.destroy(rule)

    def hits(self, rule):
        """Returns the (packets, bytes) of a rule."""
        count = self.rpc.call("flow.query", text=f"{rule[0]} {rule[1]} count")
        return count["packets"], count["bytes"]

    # Counters.

    def drops(self):
        return self.rpc.call("show.drops")["drops"]

    def dropped_since(self, before):
        """Returns the drops since drops() returned `before`, without zeroes."""
        return {
            reason: n - before.get(reason, 0)
            for reason, n in self.drops().items()
            if n != before.get(reason, 0)
        }

    def port(self, name):
        """Returns the counters of the port of an endpoint."""
        return self.rpc.call("show.port.stats", port=name)["ports"][0]

    def unpoliced(self):
        return self.rpc.call("show.drops")["unpoliced_packets"]

    # Frames.

    def mark(self, sender, receivers):
        """Prepares exchange(): sends the markers of `sender` to `receivers`."""
        outputs = " / ".join(
            f"represented_port ethdev_port_id {receiver}/net0" for receiver in receivers
        )
        self.create(
            f"{sender}/net0 ingress priority 0 pattern eth type is {MARKER_TYPE:#x} / end "
            f"actions {outputs} / end"
        )
        self._receivers[sender] = receivers

    def exchange_all(self, sender, frames, **options):
        """Sends frames and a marker. Returns {receiver: [ReceivedFrame before the marker]}."""
        source = bytes.fromhex(mac(self.guests[sender]["number"]).replace(":", ""))
        marker = (
            b"\xff" * 6 + source + struct.pack("!HQ", MARKER_TYPE, next(self._numbers)) + bytes(40)
        )
        frames = [bytes(frame) for frame in frames]
        for at in range(0, len(frames), 32):
            part = frames[at : at + 32]
            assert self.vms.send(sender, part, **options) == len(part)
        self.vms.send(sender, marker)
        return {receiver: self._until(receiver, marker) for receiver in self._receivers[sender]}

    def exchange(self, sender, frames, receiver="vm2", **options):
        """Sends frames and a marker. Returns the bytes one receiver got, with full checksums."""
        return [finished(frame) for frame in self.exchange_all(sender, frames, **options)[receiver]]

    def _until(self, receiver, marker):
        got, end = [], time.monotonic() + MARKER_TIMEOUT_S
        while time.monotonic() < end:
            for frame in self.vms.recv(receiver, 1, 1000):
                if frame.data == marker:
                    return got
                got.append(frame)
        raise AssertionError(
            f"{receiver} got no marker in {MARKER_TIMEOUT_S} s; before the timeout it got "
            f"{[f.data.hex() for f in got]}; "
            f"drops {self.drops()}"
        )


def wait_for(condition, timeout_s, what):
    """Returns the first true value of condition(). Fails after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"timed out after {timeout_s} s: {what}"
        time.sleep(0.01)
    return value


@contextlib.contextmanager
def network(godwitd, guests, **config):
    """Runs a daemon and a front-end with `guests`. The daemon must exit cleanly."""
    folder = Path(tempfile.mkdtemp(prefix="gw-"))  # Short, because paths of sockets are limited.
    endpoints = []
    for number, (name, guest) in enumerate(guests.items(), 1):
        guest.setdefault("number", number)
        endpoints.append(
            {
                "name": f"{name}/net0",
                "vhost": {"socket": str(folder / f"{name}.sock")},
                "macs": [mac(guest["number"])],
            }
            | guest.get("endpoint", {})
        )
    switch = Switch(
        godwitd,
        folder,
        "host-t",
        {"endpoints": endpoints + config.pop("more_endpoints", [])} | config,
    )
    try:
        with Frontend(
            executable=str(BUILD / "tests" / "tools" / "vhost_frontend" / "vhost-frontend")
        ) as vms:
            switch.start()
            here = [
                name
                for name, guest in guests.items()
                if guest.get("nic") is not None or "nic" not in guest
            ]
            for name in here:
                vms.open(
                    name,
                    path=str(folder / f"{name}.sock"),
                    mac=mac(guests[name]["number"]),
                    **guests[name].get("nic", {}),
                )
            vms.wait("all", 20000)
            yield Network(switch, vms, guests)
            assert (
                switch.process.poll() is None
            ), f"the daemon ended with {switch.process.returncode}:\n{switch.log()}"
            # The switch ends before its guests, so that a broken connection is the daemon's fault.
            code = switch.stop()
        assert code == 0, f"exit code {code}:\n{switch.log()}"
        for bad in ("[error]", " error ", "ERROR: ", "buffers were lost"):
            assert bad not in switch.log(), f"in the log:\n{switch.log()}"
    finally:
        switch.stop()
        shutil.rmtree(folder)
