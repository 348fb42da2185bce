# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench idle`: what a switch costs that has nothing to do, and how late the first packet after a pause is.

The share of a core is the whole daemon's. The latency is a packet's from one guest to another, 100 a second, so that the worker has
gone to sleep before each: the sender's kick, the worker's waking, forwarding, and the receiver's waking are in it. `spinning` is the
same without any sleep, so what sleeping adds is the difference. `no switch` is a thread that does nothing but sleep as long as a worker
sleeps that polls an uplink, and how late a thread is that a descriptor wakes (wake_floor.cc): what this machine takes for itself.
"""

import json
import subprocess
import time

from .. import guests, measure
from ..switches import CPU, background
from testbed.process import wait_until

# workers.idle, and the uplinks: one that is polled keeps a worker from long sleeps.
MODES = {
    "asleep": ({}, []),
    "polled uplink": ({}, [{"name": "physnet1", "devargs": "net_null0,no-rx=1"}]),
    "spinning": ({"max_sleep_us": 0}, []),
}
_PPS = 100
_POLL_US = 100  # workers.idle.poll_us, as it is by default


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
        before, began, sleeps = (
            guests.cpu_seconds(daemon.process.pid),
            time.monotonic(),
            worker(daemon)["sleeps"],
        )
        time.sleep(seconds)
        took = time.monotonic() - began
        share, sleeps = (guests.cpu_seconds(daemon.process.pid) - before) / took, (
            worker(daemon)["sleeps"] - sleeps
        ) / took
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
    """Microseconds from guest to guest of packets that come one by one."""
    count = _PPS * seconds
    vms.stream(1, source="vm1", dst=guests.mac(2), pps=_PPS, count=count)
    latencies = []

    def take():
        for frame in vms.recv("vm2", 1, 200):
            _, _, sent_ns = guests.numbered(frame.data)
            latencies.append((frame.header["time_ns"] - sent_ns) / 1000)
        return len(latencies) == count

    wait_until(take, 10 + 2 * seconds, f"of {count} packets not all came", 0)
    vms.stream_wait(1)
    return latencies


def worker(daemon):
    return daemon.rpc.call("show.workers")["workers"][0]


def of_mode(name, figure):
    """For goals."""
    return lambda results: next((figure(one) for one in results if one["mode"] == name), None)


def added_by_sleep(percentile):
    """For goals: what sleeping adds on the way from guest to guest, in us."""

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
        f"{result['mode']}: {result['core_percent']:.1f} % of a core, {result['sleeps_per_s']:.0f} sleeps a second, "
        f"{'woken in' if result['mode'] == 'no switch' else 'guest to guest'} {latency['p50']:.0f} us, p99 {latency['p99']:.0f} us"
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
