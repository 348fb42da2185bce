# SPDX-License-Identifier: Apache-2.0
"""The demo of scripts/demo.

A VM with a thousand rules moves between two hosts and back without loss.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from .bed import Testbed, TestbedError
from .results import Results
from .scenario import TwoHosts

_TRANSMIT_RULES = 1000
_RECEIVE_RULES = 1000
_QUIET_S = 12.0
# Pages of 2 MB: 128 MB of packet memory for each switch, and the needs of EAL.
_HUGEPAGES = 192


def main():
    arguments = _parse_arguments()
    started = time.monotonic()

    def log(text):
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    try:
        results = _run(arguments, log)
    except TestbedError as error:
        print(f"demo: {error}", file=sys.stderr)
        if arguments.json:
            _write_json(arguments.json, {"ok": False, "failures": [str(error)]})
        return 1
    print()
    print(results.table())
    print()
    failures = results.failures()
    for failure in failures:
        print(f"FAILED: {failure}")
    if not failures:
        print(f"Passed: {len(results.moves)} moves, nothing lost, duplicated or let through.")
    if arguments.json:
        _write_json(arguments.json, results.document())
    return 1 if failures else 0


def _run(arguments, log):
    with Testbed(keep_logs=arguments.keep_logs, log=log) as bed:
        hugepages = _reserve_hugepages(bed, arguments.setup)
        log("setting up two hosts and the network between them")
        # Emulated guests miss some of their sending times.
        scene = TwoHosts(
            bed,
            arguments.godwitd,
            hugepages,
            _TRANSMIT_RULES,
            _RECEIVE_RULES,
            permitted_rate=arguments.udp_rate * 21 // 20,
        )
        scene.boot()
        log("all pings are answered; counting begins")
        scene.start_count()
        counting_since = time.monotonic()
        time.sleep(1.0)
        scene.take_gaps()
        log(f"watching for {_QUIET_S:g} s while nothing moves")
        time.sleep(_QUIET_S)
        quiet_gaps_ms, _ = scene.take_gaps()
        for number in range(arguments.moves):
            to = ("host-b", "host-a")[number % 2]
            log(f"move {number + 1}: vm7 to {to}")
            move = scene.move(to)
            if arguments.verbose:
                log(
                    json.dumps(
                        {
                            "gaps_ms": move.gaps_ms,
                            "source": move.source_status,
                            "destination": move.destination_status,
                        }
                    )
                )
        counted_s = time.monotonic() - counting_since
        reports = scene.stop_count()
        drops = {name: daemon.rpc.call("show.drops") for name, daemon in scene.daemons.items()}
        if arguments.verbose:
            for name, report in reports.items():
                log(f"{name}: {json.dumps(report)}")
        for name, daemon in scene.daemons.items():
            code = daemon.stop()
            if code != 0:
                raise TestbedError(
                    f"godwitd on {name} ended with {code}; its log's "
                    f"end:\n{daemon.process.log_tail()}"
                )
        log("cleaning up")
        return Results(
            moves=scene.moves,
            reports=reports,
            quiet_gaps_ms=quiet_gaps_ms,
            drops=drops,
            forbidden_before=scene.forbidden_before,
            counted_s=counted_s,
            wanted_rate=arguments.udp_rate,
            transmit_rules=_TRANSMIT_RULES,
            names={vm.spec.ip: name for name, vm in scene.vms.items()},
        )


def _reserve_hugepages(bed, setup):
    """Reserves hugepages and releases them at the end. Yields False if there are none."""
    record = ["--hugepages-record", bed.path("hugepages.before")]
    quiet = ["--no-packages", "--no-guest"]
    bed.callback(
        lambda: subprocess.run([setup, "--restore-hugepages", *record], stdin=subprocess.DEVNULL)
    )
    done = subprocess.run(
        [setup, *quiet, "--hugepages", str(_HUGEPAGES), *record], stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        bed.log("going on without hugepages")
    return done.returncode == 0


def _write_json(path, document):
    with open(path, "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")


def _parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--godwitd", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--setup", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as JSON")
    parser.add_argument("--keep-logs", metavar="DIR", help="keep logs and configurations there")
    parser.add_argument(
        "--moves", type=int, default=2, help="how many times the VM moves (default: 2)"
    )
    parser.add_argument(
        "--udp-rate",
        type=int,
        default=0,
        help="the least number of permitted, numbered UDP packets a second in each direction "
        "(default: 50, with no minimum); with this option, gaps are reported but have no bound",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show what switches and guests report"
    )
    arguments = parser.parse_args()
    if arguments.moves < 1:
        parser.error("--moves wants at least 1")
    if not 0 <= arguments.udp_rate <= 9500:
        parser.error("--udp-rate wants 0 to 9500")
    if os.geteuid() != 0:
        parser.error("the demo makes network namespaces and needs root")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
