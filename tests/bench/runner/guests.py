# SPDX-License-Identifier: Apache-2.0
"""Guests that count and time what they get: NICs of the vhost-user front-end (tests/support/vhost_frontend) on CPU 0, in place of a
traffic generator, where single packets matter more than their rate."""

import contextlib
import os
import struct

from testbed.bed import TestbedError
from vhost_frontend.frontend import Frontend

CPU = 0
# Of a numbered packet over IPv4 (numbered_packets.h): stream, sequence, CLOCK_MONOTONIC ns.
_NUMBERED = struct.Struct("!IQq")
_NUMBERED_AT = 44


def mac(number):
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


@contextlib.contextmanager
def frontend(context):
    """A front-end process, which ends with the scope."""
    with Frontend(
        executable=context.built("tests", "support", "vhost_frontend", "vhost-frontend")
    ) as vms:
        os.sched_setaffinity(vms.pid, {CPU})
        yield vms


def endpoint(name, number, path):
    """For the configuration of the switch that `path` leads to."""
    return {"name": name, "vhost": {"socket": path}, "macs": [mac(number)]}


def numbered(data):
    """(stream, sequence, when it was sent) of a received frame's bytes."""
    if len(data) < _NUMBERED_AT + _NUMBERED.size:
        raise TestbedError(f"a frame that nobody sent: {data.hex()}")
    return _NUMBERED.unpack_from(data, _NUMBERED_AT)


def cpu_seconds(pid):
    """That a process has used so far, all threads, finer than a clock tick."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9
