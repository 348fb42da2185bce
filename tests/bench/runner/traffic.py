# SPDX-License-Identifier: Apache-2.0
"""Traffic generators in the place of guests: a testpmd on CPU 0 with virtio-user ports that listen
where the switch connects.

With flowgen both ports send UDP to destinations from 10.253.0.0 on, and each receives what the
other sent. With given flows one port repeats headers from a capture in memory, and the other one
counts.
"""

import os
import struct

from .testpmd import Testpmd
from testbed.process import wait_until

CPU = 0
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
# The longest frame of Ethernet has 1518 bytes with its FCS of 4 bytes, and 1514 in a ring. The
# shortest one is 64 bytes in a ring.
SIZES = {64: 64, 1518: 1514}


class Generator:
    """`sockets` are those of its virtio-user ports. `counted` are the ports that count what the
    switch delivered."""

    def __init__(self, bed, name, sockets, vdevs, options, counted, socket_mb):
        self.sockets = sockets
        self._counted = counted
        self.testpmd = Testpmd(bed, name, f"0@{CPU},1@{CPU}", socket_mb, vdevs, options)
        self.process = self.testpmd.process

    def wait_listening(self):
        def there():
            self.process.check_alive()
            return os.path.exists(self.sockets[0])

        wait_until(there, 30, f"{self.process.name} does not listen on {self.sockets[0]}")

    def delivered(self):
        received = self.testpmd.received()
        return sum(received[port] for port in self._counted)


def virtio_user(number, path, mac):
    return f"net_virtio_user{number},path={path},server=1,queue_size=1024,mac={mac}"


def flowgen(bed, name, flows, size):
    sockets = [bed.path(name, "a"), bed.path(name, "b")]
    vdevs = [virtio_user(i, path, MACS[i]) for i, path in enumerate(sockets)]
    options = [
        "--auto-start",
        "--forward-mode=flowgen",
        f"--flowgen-flows={flows}",
        f"--txpkts={SIZES[size]}",
        "--total-num-mbufs=16384",
    ]
    return Generator(bed, name, sockets, vdevs, options, counted=(0, 1), socket_mb=flowgen_mb())


def flowgen_mb():
    return 128


def given_flows(bed, name, headers, size):
    capture = bed.path(name, "flows.pcap")
    write_capture(capture, headers, SIZES[size])
    sockets = [bed.path(name, "a"), bed.path(name, "b")]
    vdevs = [
        f"net_pcap0,rx_pcap={capture},infinite_rx=1",
        virtio_user(0, sockets[0], MACS[0]),
        virtio_user(1, sockets[1], MACS[1]),
        "net_null0,no-rx=1",
    ]
    # The pool of testpmd holds the capture and packets in flight.
    mbufs, room = _given_flows_pool(len(headers), size)
    options = [
        "--auto-start",
        "--forward-mode=io",
        f"--total-num-mbufs={mbufs}",
        f"--mbuf-size={room}",
        f"--max-pkt-len={128 if size == 64 else 1518}",
    ]
    return Generator(
        bed,
        name,
        sockets,
        vdevs,
        options,
        counted=(2,),
        socket_mb=given_flows_mb(len(headers), size),
    )


def _given_flows_pool(flows, size):
    """Returns (number of buffers, bytes of each)."""
    return flows + 16384, 256 if size == 64 else 2176


def given_flows_mb(flows, size):
    mbufs, room = _given_flows_pool(flows, size)
    return 96 + mbufs * (room + 256) // (1 << 20)


def write_capture(path, headers, size):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        record = struct.pack("<IIII", 0, 0, size, size)
        for header in headers:
            file.write(record + frame(header, size))


def frame(header, size, macs=MACS):
    """Returns an Ethernet frame of IPv4 and TCP, UDP or neither. Only IPv4 has a checksum; nothing
    on the path reads others."""
    source, destination, source_port, destination_port, protocol = header
    length = size - 14
    first, second = source >> 16, source & 0xFFFF
    third, fourth = destination >> 16, destination & 0xFFFF
    total = 0x4500 + length + (64 << 8 | protocol) + first + second + third + fourth
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    ipv4 = struct.pack(
        "!HHHHHHHHHH",
        0x4500,
        length,
        0,
        0,
        64 << 8 | protocol,
        0xFFFF - total,
        first,
        second,
        third,
        fourth,
    )
    if protocol == 6:
        layer4 = struct.pack("!HHIIHHHH", source_port, destination_port, 0, 0, 0x5010, 0xFFFF, 0, 0)
    elif protocol == 17:
        layer4 = struct.pack("!HHHH", source_port, destination_port, length - 20, 0)
    else:
        layer4 = b""
    ethernet = bytes.fromhex((macs[1] + macs[0]).replace(":", "")) + b"\x08\x00"
    return (ethernet + ipv4 + layer4).ljust(size, b"\0")
