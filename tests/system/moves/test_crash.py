# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of either switch at each step of a move. scripts/crash is the long campaign."""
import pytest
from crash_campaign import STEPS, crashes
from front_end_guests import wait_for


@pytest.fixture(scope="module")
def run(godwitd):
    with crashes(godwitd, seed=1) as made:
        yield made


@pytest.mark.parametrize(
    "side, when, point",
    STEPS,
    ids=[f"{when} {point}".replace(" ", "-") for _, when, point in STEPS],
)
def test_switch_killed_during_move_leaves_one_owner_with_its_rules(run, side, when, point):
    try:
        assert run.cycle(side, [{when: point}]) is not None, "the fault point was not reached"
    finally:
        run.revive()
    print(run.recoveries[-1])


def test_status_explains_in_doubt_moves_after_restart(run):
    here = run.net.place["vm"]
    there = "b" if here == "a" else "a"
    run.rpc(here).call("migrate.start", vm="vm", peer=f"host-{there}")
    wait_for(lambda: run.moves(here)[-1]["state"] == "prepared", 10, "prepared")
    for host in (here, there):  # the source first, which would otherwise abort the move
        run.net.switches[host].process.kill()
        run.buried(host)
    run.net.vms.stop(
        f"vm-{here}", timeout_ms=1000
    )  # its rings run nowhere, so only the peer knows the outcome
    run.start(here)
    move = run.moves(here)[-1]
    assert (move["state"], move["role"]) == ("in-doubt", "source")
    for words in (
        f"whether vm runs at host-{there}",
        "Connection refused",
        f"parked until host-{there} answers, or its rings run here",
    ):
        assert words in move["doubt"]
    assert move["doubt"] in run.rpc(here).command("migrate status")["text"]
    endpoint = next(
        e for e in run.rpc(here).call("show.endpoints")["endpoints"] if e["name"] == "vm/net0"
    )
    assert endpoint["location"] == "parked"
    run.net.vms.resume(f"vm-{here}", timeout_ms=5000)
    log_from = run.start(there)
    run.settle()
    run.check(there, log_from)
