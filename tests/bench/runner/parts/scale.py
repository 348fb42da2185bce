# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench scale`: whether workers slow each other down.

The pipeline runs without devices on one CPU and on two CPUs at once, on one shared switch
(pipeline_scaling.cc). The best ratio is 2. The first two rows show the limits of the machine:
threads that share nothing, and threads that all write one cache line.
"""

import json
import os
import subprocess

from testbed.bed import TestbedError


def run(context):
    if len(os.sched_getaffinity(0)) < 2:
        raise TestbedError("only one CPU is usable; two are needed")
    done = subprocess.run(
        [context.tool("pipeline_scaling"), "--json", "--rounds", str(context.rounds)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode != 0:
        raise TestbedError(f"pipeline_scaling: exit code {done.returncode}: {done.stderr[-500:]}")
    found = json.loads(done.stdout)
    for row in found["rows"]:
        context.say(
            f"{row['name']}: {row['alone_per_second'] / 1e6:.1f} M/s alone, "
            f"{row['together_per_second'] / 1e6:.1f} together: x {row['scale']:.2f}"
        )
    return found


def tables(found):
    return [
        (
            f"scale: one worker and {found['workers']}",
            ("rules", "M/s alone", "M/s together", "x"),
            [
                [
                    row["name"],
                    row["alone_per_second"] / 1e6,
                    row["together_per_second"] / 1e6,
                    row["scale"],
                ]
                for row in found["rows"]
            ],
        )
    ]
