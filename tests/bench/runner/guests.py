# SPDX-License-Identifier: Apache-2.0
"""Guests that count and time single packets: NICs of the tests' vhost-user front-end, on CPU 0.
They take the place of a traffic generator."""

import contextlib
import os
import struct

from testbed.bed import TestbedError
from vhost_frontend.frontend import Frontend

CPU = 0
# A numbered packet over IPv4 (numbered_packets.h) has its stream, its sequence number and the time
# of sending in ns of CLOCK_MONOTONIC.
_NUMBERED = struct.Struct("!IQq")
_NUMBERED_AT = 44


def mac(number):
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


@contextlib.contextmanager
def frontend(context):
    """Runs a front-end process until the scope ends."""
    with Frontend(
        executable=context.built("tests", "tools", "vhost_frontend", "vhost-frontend")
    ) as vms:
        os.sched_setaffinity(vms.pid, {CPU})
        yield vms


def endpoint(name, number, path):
    """Returns the configuration of an endpoint whose socket is `path`."""
    return {"name": name, "vhost": {"socket": path}, "macs": [mac(number)]}


def numbered(data):
    """Returns (stream, sequence, time of sending) of a received frame."""
    if len(data) < _NUMBERED_AT + _NUMBERED.size:
        raise TestbedError(f"a frame without a number arrived: {data.hex()}")
    return _NUMBERED.unpack_from(data, _NUMBERED_AT)


def cpu_seconds(pid):
    """Returns the CPU time of all threads of a process, finer than a clock tick."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9
