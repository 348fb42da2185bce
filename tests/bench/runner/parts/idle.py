# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench idle`: what an idle switch costs, and the latency of the first packet after a
pause.

The share of a core is that of the whole daemon. The latency is that of single packets from one
guest to another, 100 a second, so that the worker sleeps before each of them. It includes the
sender's kick, the wake-up of the worker, forwarding, and the wake-up of the receiver. `spinning` is
the same without sleep; the difference is the cost of sleeping.

`no switch` is the floor of this machine (wake_floor.cc): a thread that only sleeps as long as a
worker that polls an uplink, and the delay of a thread that a descriptor wakes.
"""

import json
import subprocess
import time

from .. import guests, measure
from ..switches import CPU, background
from testbed.process import wait_until

# Name: (workers.idle, uplinks). An uplink that must be polled keeps a worker from long sleeps.
MODES = {
    "asleep": ({}, []),
    "polled uplink": ({}, [{"name": "physnet1", "devargs": "net_null0,no-rx=1"}]),
    "spinning": ({"max_sleep_us": 0}, []),
}
_PPS = 100
_POLL_US = 100  # The default of workers.idle.poll_us.


def run(context):
    results = []
    for name, (idle, uplinks) in MODES.items():
        with context.scope() as bed:
            results.append(measure_mode(context, bed, name, idle, uplinks))
        context.say(describe(results[-1]))
    results.append(floor(context))
    context.say(describe(results[-1]))
    return results


def floor(context):
    done = subprocess.run(
        [context.tool("wake_floor"), str(CPU), str(_POLL_US), "3" if context.quick else "10"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    figures = json.loads(done.stdout)
    return {
        "mode": "no switch",
        "core_percent": figures["core_percent"],
        "sleeps_per_s": figures["sleeps_per_s"],
        "latency_us": figures["wake_us"],
    }


def measure_mode(context, bed, name, idle, uplinks):
    sockets = {vm: bed.path(vm) for vm in ("vm1", "vm2")}
    config = {
        "workers": {"cpus": [CPU], "idle": idle},
        "uplinks": uplinks,
        "endpoints": [
            guests.endpoint(f"{vm}/net0", number, path)
            for number, (vm, path) in enumerate(sockets.items(), 1)
        ],
    }
    seconds = 3 if context.quick else 10
    with guests.frontend(context) as vms:
        daemon = background(bed, context, "idle", config)
        for number, (vm, path) in enumerate(sockets.items(), 1):
            vms.open(vm, path=path, mac=guests.mac(number))
        vms.wait("all", 20000)
        time.sleep(0.5)
        before, began = guests.cpu_seconds(daemon.process.pid), time.monotonic()
        sleeps = worker(daemon)["sleeps"]
        time.sleep(seconds)
        took = time.monotonic() - began
        share = (guests.cpu_seconds(daemon.process.pid) - before) / took
        sleeps = (worker(daemon)["sleeps"] - sleeps) / took
        latencies = wake_ups(vms, seconds)
    return {
        "mode": name,
        "core_percent": 100 * share,
        "sleeps_per_s": sleeps,
        "packets": len(latencies),
        "latency_us": {
            "p50": measure.percentile(latencies, 50),
            "p99": measure.percentile(latencies, 99),
            "max": max(latencies),
        },
    }


def wake_ups(vms, seconds):
    """Returns the microseconds from guest to guest of packets that arrive one by one."""
    count = _PPS * seconds
    vms.stream(1, source="vm1", dst=guests.mac(2), pps=_PPS, count=count)
    latencies = []

    def take():
        for frame in vms.recv("vm2", 1, 200):
            _, _, sent_ns = guests.numbered(frame.data)
            latencies.append((frame.header["time_ns"] - sent_ns) / 1000)
        return len(latencies) == count

    wait_until(take, 10 + 2 * seconds, f"some of {count} packets did not arrive", 0)
    vms.stream_wait(1)
    return latencies


def worker(daemon):
    return daemon.rpc.call("show.workers")["workers"][0]


def of_mode(name, figure):
    """Returns a function for a goal: `figure` of one mode."""
    return lambda results: next((figure(one) for one in results if one["mode"] == name), None)


def added_by_sleep(percentile):
    """Returns a function for a goal: the microseconds that sleeping adds from guest to guest."""

    def added(results):
        latency = {one["mode"]: one["latency_us"][percentile] for one in results}
        return (
            latency["asleep"] - latency["spinning"]
            if {"asleep", "spinning"} <= latency.keys()
            else None
        )

    return added


def describe(result):
    latency = result["latency_us"]
    return (
        f"{result['mode']}: {result['core_percent']:.1f} % of a core, "
        f"{result['sleeps_per_s']:.0f} sleeps a second, "
        f"{'woken in' if result['mode'] == 'no switch' else 'guest to guest'} "
        f"{latency['p50']:.0f} us, p99 {latency['p99']:.0f} us"
    )


HEADINGS = ("mode", "% of a core", "sleeps/s", "us to the guest, or awake p50", "p99", "max")


def tables(results):
    return [
        (
            "idle",
            HEADINGS,
            [
                [
                    one["mode"],
                    one["core_percent"],
                    one["sleeps_per_s"],
                    one["latency_us"]["p50"],
                    one["latency_us"]["p99"],
                    one["latency_us"]["max"],
                ]
                for one in results
            ],
        )
    ]
