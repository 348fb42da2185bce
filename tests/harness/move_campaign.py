#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The campaign of scripts/moves.

A VM moves back and forth between two daemons under numbered packets, each of which is accounted
for.

CPU use comes from /proc: for the generator (all guests), the fabric, and of each daemon its worker
and its other threads, which are the control plane.
"""
import argparse
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / room) for room in ("harness", "tools")]

HIGHEST = (25000, 50000, 75000, 100000, 125000, 150000, 175000, 200000, 250000, 300000)
SWITCH_MB = 704  # packet buffers of each switch, in hugepages if enough are free
KEPT_UP = 0.95  # the least share of the requested packets that the generator must send
COPIES = {"redirect_duplicate", "uplink_to_uplink"}  # copies of frames that another path delivers


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/moves", description=__doc__.split("\n")[0])
    parser.add_argument("--moves", type=int, default=200, help="how often the VM moves (200)")
    parser.add_argument(
        "--pps",
        type=int,
        default=100000,
        help="numbered packets a second from the VM, and as many to it (100000)",
    )
    parser.add_argument(
        "--broadcast", type=float, default=0.1, help="the share of them that is broadcast (0.1)"
    )
    parser.add_argument(
        "--pause",
        type=int,
        default=50,
        help="milliseconds for which the VM stands still in a move (50)",
    )
    parser.add_argument(
        "--park", type=int, default=65536, help="the switches' park_packets (65536)"
    )
    parser.add_argument("--park-bytes", type=int, help="and their park_bytes (512 for each)")
    parser.add_argument(
        "--ring", type=int, default=1024, help="descriptors of a guest's ring (1024)"
    )
    parser.add_argument(
        "--habits", default="{}", help='the fabric\'s, such as {"learn_ms": 100} (none)'
    )
    parser.add_argument(
        "--highest",
        action="store_true",
        help="--moves moves at each of ever higher rates, until one does not hold",
    )
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    parser.add_argument("--build", type=Path, help="the build directory (build/release)")
    parser.add_argument("--verbose", action="store_true", help="a line for each move")
    return parser.parse_args()


def cpu_seconds(net):
    """Returns the seconds of CPU time so far by component."""
    tick = os.sysconf("SC_CLK_TCK")

    def of(stat):
        fields = Path(stat).read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / tick

    out = {
        "generator": of(f"/proc/{net.vms.pid}/stat"),
        "fabric": of(f"/proc/{net.fabric.pid}/stat"),
    }
    for host, switch in net.switches.items():
        control = 0.0
        for task in Path(f"/proc/{switch.process.pid}/task").iterdir():
            name, seconds = (task / "comm").read_text().strip(), of(task / "stat")
            if "worker" in name:
                out[f"worker {host}"] = out.get(f"worker {host}", 0.0) + seconds
            else:
                control += seconds
        out[f"control {host}"] = control
    return out


def bad_reasons(drops):
    return {
        host: kept
        for host, reasons in drops.items()
        if (kept := {k: v for k, v in reasons.items() if k not in COPIES})
    }


class Watch:
    """Collects, after each move, its drops that are not allowed."""

    def __init__(self, net, verbose):
        self.net, self.verbose, self.before, self.suspects = net, verbose, net.drops(), []

    def __call__(self, number, moved):
        now = self.net.drops()
        lost = bad_reasons(
            {
                h: {
                    k: v - self.before[h].get(k, 0)
                    for k, v in now[h].items()
                    if v != self.before[h].get(k, 0)
                }
                for h in now
            }
        )
        self.before = now
        if lost or self.verbose:
            steps = ", ".join(f"{step['state']} {step['at_ms']:.1f}" for step in moved["steps"])
            source = moved["source"]
            print(
                f"move {number}: dropped {lost or 'nothing'}; parked {source['parked']}, "
                f"redirected {source['redirected']}; {steps}",
                flush=True,
            )
        if lost:
            self.suspects.append({"move": number, "drops": lost, "steps": moved["steps"]})
        elif number % 20 == 0:
            print(f"{number} moves", flush=True)


def campaign(options, pps):
    from switch import BUILD
    from front_end_guests import free_hugepages
    from move_hosts import hosts, run_moves, traffic

    limits = {"park_packets": options.park, "park_bytes": options.park_bytes or options.park * 512}
    more = {}
    # Two switches need SWITCH_MB pages of 2 MB. Real hosts use hugepages too. Other pages do not
    # exist before they are touched.
    if free_hugepages() >= SWITCH_MB:
        more["memory"] = {
            "hugepages": True,
            "socket_mb": SWITCH_MB,
            "file_prefix": f"godwit-moves-{os.getpid()}-HOST",
            "mbufs": 131072,
        }
    with hosts(BUILD / "control" / "godwitd", limits, ring=options.ring, more=more) as net:
        net.fabric.set(**json.loads(options.habits))
        net.vms.run(200)
        watch, before = Watch(net, options.verbose), cpu_seconds(net)
        outcome = run_moves(
            net,
            "vm",
            traffic("vm", pps, broadcast_share=options.broadcast),
            options.moves,
            pause_ms=options.pause,
            each=watch,
        )
        cpu = {
            who: round((seconds - before[who]) / outcome.seconds, 3)
            for who, seconds in cpu_seconds(net).items()
        }
        totals = outcome.totals() | {
            "asked_pps": pps,
            "cpu": cpu,
            "fabric": outcome.fabric,
            "suspects": watch.suspects,
            "failed_moves": sum(
                1 for m in outcome.moves if m["source"]["error"] or m["destination"]["error"]
            ),
            "unpoliced": net.unpoliced(),
            "wrong": [row for row in outcome.wrong() if "flow" in row],
        }
    totals["clean"] = not any(
        totals[k]
        for k in ("lost", "duplicated", "out_of_order", "corrupt", "failed_moves", "unpoliced")
    )
    totals["kept_up"] = totals["pps"]["to_vm"] >= KEPT_UP * pps
    return totals


def report(totals):
    print(
        f"{totals['pps']['from_vm']} packets a second from the VM and {totals['pps']['to_vm']} to "
        f"it (asked for: {totals['asked_pps']} each way), "
        f"{totals['seconds']} s; each at every receiver: {totals['sent']} sent, "
        f"{totals['received']} received"
    )
    print(
        f"longest gap {totals['longest_gap_ms']} ms; {totals['redirected']} redirected in the "
        f"peers' session; dropped by name: {totals['drops']}"
    )
    print("CPU: " + ", ".join(f"{who} {share * 100:.0f} %" for who, share in totals["cpu"].items()))
    if totals["fabric_lost"]:
        print(f"lost by the test's own fabric, by port: {totals['fabric_lost']}")
    for row in totals["wrong"]:
        print(
            f"  {row['flow']} at {row['receiver']}: {row['lost']} lost, {row['duplicated']} "
            f"duplicated, {row['out_of_order']} out of order, "
            f"{row['corrupt']} damaged; missing {row['missing'][:4]}"
        )
    for what in ("failed_moves", "unpoliced"):
        if totals[what]:
            print(f"{what}: {totals[what]}")


def last_line(runs):
    total = {
        k: sum(run[k] for run in runs) for k in ("moves", "lost", "duplicated", "out_of_order")
    }
    return (
        f"{total['moves']} moves, {total['lost']} lost, {total['duplicated']} duplicated, "
        f"{total['out_of_order']} out of order"
    )


def main():
    options = arguments()
    if options.build is not None:
        os.environ["GODWIT_BUILD"] = str(options.build.resolve())
    runs, highest = [], 0
    for pps in HIGHEST if options.highest else (options.pps,):
        if options.highest:
            print(f"== {pps} packets a second each way", flush=True)
        runs.append(campaign(options, pps))
        report(runs[-1])
        if not (runs[-1]["clean"] and runs[-1]["kept_up"]):
            break
        highest = pps
    if options.json:
        Path(options.json).write_text(
            json.dumps({"runs": runs, "highest_pps": highest}, indent=1) + "\n"
        )
    if options.highest:
        why = (
            "all that were tried"
            if highest == HIGHEST[-1]
            else "at the next "
            + (
                "the generator did not keep up"
                if runs[-1]["clean"]
                else "something was lost, doubled or out of order"
            )
        )
        print(f"highest rate that holds: {highest} packets a second each way ({why})")
        runs = [run for run in runs if run["asked_pps"] <= highest]
    print(last_line(runs))
    return 0 if all(run["clean"] for run in runs) and runs else 1


if __name__ == "__main__":
    sys.exit(main())
