# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench ports`: what silent ports cost busy ones.

Each contender is a Godwit with two ports under traffic, one rule each, and further guests that are
connected and silent. The ratio compares it with the contender without silent guests, within a
round. At the end all guests are silent, and the daemon's share of a core is measured.
"""

import contextlib
import time

from .. import guests, measure, traffic
from .forward import limit
from ..switches import OWNER, PEER, Godwit

PORTS = (2, 32, 256)
_RULES = [
    "flow create {} ingress pattern eth / end "
    "actions represented_port ethdev_port_id {} / end".format(*pair)
    for pair in ((OWNER, PEER), (PEER, OWNER))
]


def run(context):
    with context.scope() as bed, contextlib.ExitStack() as stack:
        contenders = {}
        for count in PORTS:
            contenders[str(count)] = begin(context, bed, stack, count)
        rounds = [
            {name: one.sample(context.seconds) for name, one in contenders.items()}
            for _ in range(context.rounds)
        ]
        results = []
        for count in PORTS:
            name, few = str(count), str(PORTS[0])
            figures = measure.medians(rounds, name)
            results.append(
                {
                    "ports": count,
                    **figures,
                    "limit": limit(figures, contenders[name].clock_hz),
                    "cycles_ratio": measure.ratio(rounds, name, few, "cycles"),
                    "rate_ratio": measure.ratio(rounds, name, few, "mpps"),
                    "idle_core_percent": silent(contenders[name]),
                }
            )
            context.say(describe(results[-1]))
    return results


def begin(context, bed, stack, count):
    """Returns a halted contender with `count` ports."""
    generator = traffic.flowgen(bed, f"gen-{count}", 64, 64)
    generator.wait_listening()
    silent_guests = [
        (f"quiet{n}", n, bed.path(f"quiet-{count}", f"{n}")) for n in range(3, count + 1)
    ]
    contender = Godwit(bed, generator)
    contender.name = f"godwit-{count}"
    vms = stack.enter_context(guests.frontend(context))
    for name, number, path in silent_guests:
        vms.open(name, path=path, mac=guests.mac(number), size=64)
    # An uplink that cannot wake a worker would make it poll.
    contender.start(
        context.godwitd,
        _RULES,
        [guests.endpoint(f"{name}/net0", number, path) for name, number, path in silent_guests],
        config={"uplinks": []},
    )
    if silent_guests:
        vms.wait("all", 30000)
    contender.wait_traffic()
    contender.halt()
    return contender


def silent(contender, seconds=2.0):
    """Returns the percentage of a core that the daemon takes while no guest sends."""
    process = contender.daemon.process
    process.resume()
    try:
        time.sleep(0.3)
        before, began = guests.cpu_seconds(process.pid), time.monotonic()
        time.sleep(seconds)
        return 100 * (guests.cpu_seconds(process.pid) - before) / (time.monotonic() - began)
    finally:
        process.halt()


def describe(result):
    return (
        f"{result['ports']} ports, 2 busy: {result['cycles']:.0f} cycles "
        f"(x {result['cycles_ratio']:.3f}), {result['mpps']:.2f} Mpps "
        f"(x {result['rate_ratio']:.3f}); all silent: {result['idle_core_percent']:.1f} % of a core"
    )


HEADINGS = (
    "ports",
    "busy",
    "cycles/packet",
    "x of 2 ports",
    "Mpps",
    "x of 2 ports",
    "limit",
    "all silent: % of a core",
)


def tables(results):
    return [
        (
            "ports",
            HEADINGS,
            [
                [
                    one["ports"],
                    2,
                    one["cycles"],
                    f"{one['cycles_ratio']:.3f}",
                    one["mpps"],
                    f"{one['rate_ratio']:.3f}",
                    one["limit"],
                    one["idle_core_percent"],
                ]
                for one in results
            ],
        )
    ]
