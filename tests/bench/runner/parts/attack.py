# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench attack`: what a tenant costs its neighbor on the same worker by flooding new flows
or by exploding its own tables.

The victim is a pair of guests under traffic as in `forward`, with 1,000 rules and 8,192 flows. The
attacker is a third guest that sends 400,000 packets a second of hundreds of thousands of flows, too
many for the flow cache. In `new flows` it has 100 rules on ports. In `masks` it has 20,000 nested
rules with thousands of masks, and its packets match the innermost ones, which are the most
expensive to find.

Each round measures the victim alone, beside the attacker with as many packets of one flow, and
beside the attack. Generators share a CPU, and a neighbor that sends is entitled to its share of the
switch. The reported loss therefore compares the attack with the one flow.
"""

import time

from . import forward
from .. import guests, measure, rulesets, sets
from ..switches import Godwit
from testbed.bed import TestbedError

KINDS = ("new flows", "masks")
_VICTIM = forward.Row(1000, 8192, 64)
_ATTACKER = "vm3/net0"
_PPS = 400_000
_STREAMS = 8  # Each cycles through 65,535 source ports.
_NESTED = 20_000


def run(context):
    results = []
    for kind in KINDS:
        with context.scope() as bed:
            results.append(measure_kind(context, bed, kind))
        context.say(describe(results[-1]))
    return results


def measure_kind(context, bed, kind):
    offered = forward.Traffic(context, _VICTIM)
    rules, addresses = attacker(context, kind)
    generator = offered.generator(bed, "gen-victim")
    generator.wait_listening()
    path = bed.path("attacker")
    with guests.frontend(context) as vms:
        vms.open("attacker", path=path, mac=guests.mac(3), size=1024)
        contender = Godwit(bed, generator).start(
            context.godwitd, offered.godwit + rules, [guests.endpoint(_ATTACKER, 3, path)]
        )
        vms.wait("all", 20000)
        contender.wait_traffic()
        contender.halt()
        rounds = [
            {
                name: turn(context, contender, vms, addresses, flows)
                for name, flows in (("alone", 0), ("one flow", 1), ("attack", 65535))
            }
            for _ in range(context.rounds)
        ]
    figures = {name: measure.medians(rounds, name) for name in ("alone", "one flow", "attack")}
    return {
        "kind": kind,
        "victim": _VICTIM.name(),
        **figures,
        "limit": forward.limit(figures["alone"], contender.clock_hz),
        "kept": measure.ratio(rounds, "attack", "one flow", "mpps"),
        "kept_of_alone": measure.ratio(rounds, "attack", "alone", "mpps"),
        "one_flow_kept_of_alone": measure.ratio(rounds, "one flow", "alone", "mpps"),
    }


def attacker(context, kind):
    """Returns (rules of the attacker, addresses of its packets)."""
    away = "/ end actions represented_port ethdev_port_id physnet1 / end"
    if kind == "new flows":
        rules = [
            f"flow create {_ATTACKER} ingress priority {n} pattern eth / ipv4 / udp "
            f"src spec {1 + 600 * n} src last {600 * (n + 1)} src mask 65535 "
            f"dst is {1000 + n % 8} {away}"
            for n in range(100)
        ]
        rules.append(f"flow create {_ATTACKER} ingress priority 100 pattern eth {away}")
        return rules, ("10.7.0.1", "10.7.0.2")
    name, filters, trace = sets.rule_set(context, "nest", _NESTED)
    context.say(f"the attacker's rules: {name}")
    return rulesets.godwit_rules(filters, _ATTACKER, "physnet1"), tuple(
        map(rulesets.dotted, deepest(filters))
    )


def deepest(filters):
    """Returns (source, destination) in the middle of the nested prefixes: those of the longest
    prefixes."""
    return (
        max(filters, key=lambda one: one.source[1]).source[0],
        max(filters, key=lambda one: one.destination[1]).destination[0],
    )


def turn(context, contender, vms, addresses, flows):
    """Measures one turn. Returns {"mpps": of the victim, "cycles", "attacker_kpps": packets that
    the switch took from the attacker}. `flows` is the number of flows of each stream; with 0 the
    attacker is silent."""
    if flows:
        streams = _STREAMS if flows > 1 else 1
        for number in range(streams):
            vms.stream(
                number + 1,
                source="attacker",
                dst=guests.mac(9),
                sip=addresses[0],
                dip=addresses[1],
                sport=1,
                dport=1000 + number,
                flows=flows,
                pps=_PPS // streams,
                seconds=3600,
            )
    daemon = contender.daemon
    contender.daemon.process.resume()
    before, began = received(daemon), time.monotonic()
    try:
        result = contender.sample(context.seconds)
    finally:
        if flows:
            vms.stream_stop()
    daemon.process.resume()
    taken, took = received(daemon) - before, time.monotonic() - began
    result["attacker_kpps"] = taken / took / 1e3
    if flows and taken == 0:
        raise TestbedError("the switch took no packet of the attacker, so there was no attack")
    time.sleep(0.05)  # The switch empties the ring of the attacker.
    daemon.process.halt()
    return result


def received(daemon):
    return daemon.rpc.call("show.port.stats", port=_ATTACKER)["ports"][0]["rx_packets"]


# The figure for the goal.


def worst_loss(results):
    """Returns the percentage of the victim's rate that the worse attack takes."""
    kept = [one["kept"] for one in results]
    return 100 * (1 - min(kept)) if kept and None not in kept else None


def describe(result):
    return (
        f"{result['kind']}: the victim's rate is {result['attack']['mpps']:.2f} Mpps, "
        f"beside one flow {result['one flow']['mpps']:.2f}, alone "
        f"{result['alone']['mpps']:.2f}: {100 * (1 - result['kept']):.1f} % lost to the attack"
    )


HEADINGS = (
    "attack",
    "alone Mpps",
    "beside one flow",
    "beside the attack",
    "% lost to it",
    "% of alone",
    "attacker kpps taken",
    "of one flow",
    "limit",
)


def tables(results):
    return [
        (
            "attack: the victim's rate",
            HEADINGS,
            [
                [
                    one["kind"],
                    one["alone"]["mpps"],
                    one["one flow"]["mpps"],
                    one["attack"]["mpps"],
                    f"{100 * (1 - one['kept']):.1f}",
                    f"{100 * (1 - one['kept_of_alone']):.1f}",
                    one["attack"]["attacker_kpps"],
                    one["one flow"]["attacker_kpps"],
                    one["limit"],
                ]
                for one in results
            ],
        )
    ]
