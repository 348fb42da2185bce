# SPDX-License-Identifier: Apache-2.0
"""The short form of scripts/moves: its claims and its exit code, at a rate for any CI machine."""
import json
import os
import re
import subprocess

from switch import BUILD, REPO

MOVES = int(os.environ.get("GODWIT_CAMPAIGN_MOVES", "10"))
PPS = int(os.environ.get("GODWIT_CAMPAIGN_PPS", "20000"))


def campaign(folder, *options):
    done = subprocess.run(
        [
            REPO / "scripts" / "moves",
            "--no-build",
            "--build",
            BUILD,
            "--json",
            folder / "moves.json",
            *map(str, options),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    print(done.stdout + done.stderr)
    return done, json.loads((folder / "moves.json").read_text())


def test_campaign_at_fixed_rate_loses_nothing(folder):
    done, figures = campaign(folder, "--moves", MOVES, "--pps", PPS)
    assert done.stdout.splitlines()[-1] == f"{MOVES} moves, 0 lost, 0 duplicated, 0 out of order"
    assert done.returncode == 0
    run = figures["runs"][0]
    assert run["received"] == run["sent"] > MOVES * PPS
    assert (
        run["redirected"] > MOVES * PPS * 0.04
    ), "what came in each pause of 50 ms took the session"
    assert run["unpoliced"] == 0 and run["fabric_lost"] == {}


def test_campaign_with_losses_reports_them_and_exits_with_1(folder):
    """A park of 8 frames is too small for a pause."""
    done, figures = campaign(
        folder, "--moves", 1, "--pps", 2000, "--park", 8, "--park-bytes", 65536
    )
    # A flooded frame has two copies. If the park was full for the first, the second arrives late.
    lost = re.fullmatch(
        r"1 moves, (\d+) lost, 0 duplicated, \d+ out of order", done.stdout.splitlines()[-1]
    )
    assert lost and int(lost[1]) > 0
    assert done.returncode == 1
    assert (
        sum(reasons.get("park_overflow", 0) for reasons in figures["runs"][0]["drops"].values()) > 0
    )
