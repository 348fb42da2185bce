# SPDX-License-Identifier: Apache-2.0
"""The moves of the demo as a test: two hosts and real QEMU guests, live-migrated there and back.

The tests assert what holds on any machine: no packet is lost, duplicated, unpoliced or forbidden.
Gaps depend on the load of the CPUs. scripts/demo checks their bounds; the tests print them.
"""
import json
import os
import subprocess
from pathlib import Path

import pytest

from switch import BUILD, REPO


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    out = tmp_path_factory.mktemp("move") / "figures.json"
    before = leftovers()
    done = subprocess.run(
        [str(REPO / "scripts" / "demo"), "--no-build", "--build", str(BUILD), "--json", str(out)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    print(done.stdout[-5000:], done.stderr[-2000:])
    assert out.exists(), (
        f"the demo gave no figures: exit code {done.returncode}\n"
        f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    )
    data = json.loads(out.read_text())
    data["leftovers"] = leftovers() - before
    return data


def leftovers():
    """Namespaces and processes of a testbed."""
    namespaces = subprocess.run(
        ["ip", "netns", "list"], capture_output=True, text=True, check=False
    ).stdout.split("\n")
    processes = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if name.startswith(("qemu-system", "godwitd")):
                processes.add(f"{name} {entry.name}")
    return {n for n in namespaces if n} | processes


def test_vm_moves_to_peer_and_back(figures):
    assert figures["moves"] == 2, figures.get("failures")


def test_pings_during_moves_are_not_lost_or_duplicated(figures):
    assert figures["pings_sent"] > 4000
    assert (figures["pings_lost"], figures["pings_duplicated"]) == (0, 0), figures["failures"]


def test_moves_pass_no_packet_without_policy(figures):
    assert figures["forbidden_sent"] > 1000
    assert (figures["unpoliced_packets"], figures["forbidden_delivered"]) == (0, 0)


def test_move_transfers_all_rules(figures):
    for move in figures["move_list"]:
        assert move["rules_exported"] >= 1000
        assert move["rules_imported"] == move["rules_exported"]
        assert move["rules_rewritten"] >= 1000


def test_testbed_after_exit_leaves_nothing_behind(figures):
    assert figures["leftovers"] == set()
