# SPDX-License-Identifier: Apache-2.0
"""Moves between two real daemons over a fabric with every habit: no packet is lost, duplicated,
reordered or damaged.

Each flow is numbered packets, unicast and broadcast, in both directions between the VM and
receivers on the same host, on the other host and on a separate machine (move_hosts). Losses of the
fabric or the generator themselves are in their own counters.
"""
import pytest
from front_end_guests import mac, wait_for
from move_hosts import MOVERS, NUMBERS, PEERS, VLANS, Flow, hosts, run_flows, run_moves, traffic

PPS = 4000  # each way
WINDOW_MS = 700  # without a proof
NO_OVERLAP = {
    "redirect_duplicate",
    "uplink_to_uplink",
}  # copies of packets that another path delivers


@pytest.fixture(scope="module")
def net(godwitd):
    with hosts(
        godwitd, {"window_timeout_ms": WINDOW_MS}, movers=("vm", "tag", "duo", "pal")
    ) as made:
        yield made
        assert made.unpoliced() == 0


@pytest.fixture(autouse=True)
def as_before(net):
    yield
    net.vms.stream_stop()
    net.fabric.set()
    for host, switch in net.switches.items():
        going_on = [
            m
            for m in switch.rpc.call("migrate.status")["moves"]
            if m["state"] not in ("done", "aborted")
        ]
        assert going_on == [], f"left over at {host}"


def switched_on(moved):
    """Returns the event on which the source's senders began to use the uplink."""
    return next(step["on"] for step in moved["steps"] if step["state"] == "holding")


def speak(net, nic):
    """Sends one broadcast frame, which teaches the fabric where the NIC is."""
    source = bytes.fromhex(mac(NUMBERS[nic]).replace(":", ""))
    net.vms.send(net.device(nic), b"\xff" * 6 + source + b"\x88\xb5" + bytes(46))


def check(outcome, switched="proof"):
    assert outcome.fabric_lost == {}, f"the test's own fabric was too slow: {outcome}"
    assert outcome.wrong() == [], str(outcome)
    assert [switched_on(moved) for moved in outcome.moves] == [switched] * len(
        outcome.moves
    ), outcome.moves
    for host, reasons in outcome.drops.items():
        assert set(reasons) <= NO_OVERLAP, f"{host}: {reasons}"


HABITS = {
    "learns at once": ({}, "proof"),
    "learns slowly": ({"learn_ms": 150}, "proof"),
    "learns slowly and is far": ({"learn_ms": 150, "latency_us": 4000}, "proof"),
    "forgets": ({"age_ms": 40}, "proof"),
    "never floods": ({"never_flood": True}, "proof"),
    "never floods and learns slowly": ({"never_flood": True, "learn_ms": 100}, "proof"),
    "loses the announcement": ({"deaf": True}, "window-timeout"),
    "loses the announcement and learns slowly": ({"deaf": True, "learn_ms": 300}, "window-timeout"),
    "is far": ({"latency_us": 5000}, "proof"),
    "believes a new place too late": ({"learn_ms": WINDOW_MS + 200}, "window-timeout"),
}


@pytest.mark.parametrize("habit", [habit for habit in HABITS if "too late" not in habit])
def test_move_over_fabric_with_habit_loses_nothing(net, habit):
    habits, switched = HABITS[habit]
    net.fabric.set(**habits)
    check(run_moves(net, "vm", traffic("vm", PPS), moves=2), switched)


def test_vlans_of_moved_vm_move_separately(net):
    net.fabric.set(vlans=VLANS, learn_ms=100)
    check(run_moves(net, "tag", traffic("tag", PPS, vlans=VLANS), moves=2))


def test_fabric_without_one_vlan_gives_no_proof_for_it(net):
    net.fabric.set(vlans=VLANS[:1])
    flows = traffic("tag", PPS, vlans=VLANS[:1])
    flows += [Flow("na", "tag", 500, (), {"vlan": VLANS[1]})]  # no receiver behind the fabric
    check(run_moves(net, "tag", flows, moves=2), "window-timeout")


def test_vm_with_two_nics_moves_without_loss(net):
    check(run_moves(net, "duo", traffic("duo0", PPS // 2) + traffic("duo1", PPS // 2), moves=2))


def test_two_vms_with_mutual_traffic_move_together(net):
    talk = [Flow("vm", "pal", PPS // 2, ("pal",)), Flow("pal", "vm", PPS // 2, ("vm",))]
    assert net.place["vm"] == net.place["pal"]
    check(
        run_moves(
            net, ("vm", "pal"), traffic("vm", PPS // 2) + traffic("pal", PPS // 2) + talk, moves=2
        )
    )


def test_two_vms_with_mutual_traffic_move_in_opposite_directions(net):
    talk = [Flow("vm", "pal", PPS // 2, ("pal",)), Flow("pal", "vm", PPS // 2, ("vm",))]
    net.move("pal", 10)
    assert net.place["vm"] != net.place["pal"]
    check(
        run_moves(
            net, ("vm", "pal"), traffic("vm", PPS // 2) + traffic("pal", PPS // 2) + talk, moves=2
        )
    )
    net.move("pal", 10)


def test_move_cancelled_during_pause_returns_all_packets_in_order(net):
    source = net.place["vm"]

    def cancel_in_the_pause():
        move = net.prepare("vm")
        net.vms.stop(net.device("vm"))
        net.vms.run(60)
        assert net.status(source, move)["state"] == "handed-over"
        net.switches[source].rpc.call("migrate.cancel", vm="vm")
        for host in "ab":
            wait_for(lambda: net.status(host, move)["state"] == "aborted", 5, "aborted")
        net.vms.run(20)
        net.vms.resume(net.device("vm"))
        net.vms.run(100)
        yield from ()

    outcome = run_flows(net, traffic("vm", PPS), cancel_in_the_pause())
    check(outcome)


def test_vm_resumed_at_source_gets_all_packets_in_order_and_moves_later(net):
    source = net.place["vm"]

    def stop_and_go():
        move = net.prepare("vm")
        for pause_ms in (1, 40, 5, 60):
            net.vms.stop(net.device("vm"))
            net.vms.run(pause_ms)
            net.vms.resume(net.device("vm"))
            wait_for(lambda: net.status(source, move)["state"] == "prepared", 5, "revoked")
            net.vms.run(30)
        net.switches[source].rpc.call("migrate.cancel", vm="vm")
        for host in "ab":
            wait_for(lambda: net.status(host, move)["state"] == "aborted", 5, "aborted")
        yield net.move("vm", 50)

    check(run_flows(net, traffic("vm", PPS), stop_and_go()))
    assert net.place["vm"] != source


def test_late_packets_to_old_host_after_window_are_counted(net):
    """The VM is silent and the fabric does not learn, so the fabric keeps the old location."""
    net.fabric.set(deaf=True)
    source = net.place["vm"]
    vms = net.vms
    net.fabric.forget()
    for nic in ("vm", "nc", "nb", "na"):
        speak(net, nic)
    vms.run(20)
    for device in net.devices():
        vms.stats(device, reset=True)
    before = net.drops()
    hairpin = net.fabric.stats()["hairpin_dropped"]
    first, second = next(net.numbers), next(net.numbers)
    vms.stream(first, source="nc", dst=mac(NUMBERS["vm"]), pps=1000, seconds=60)
    moved = net.move("vm", 50)
    assert switched_on(moved) == "window-timeout"
    vms.run(200)  # packets after the move go to the old location, which counts them
    sent = vms.stream_stop(first)[0]["sent"]
    vms.run(50)
    account = vms.stats(net.device("vm"))["streams"][str(first)]
    after = net.drops()
    # The last frames that wait at the end of the window may miss it.
    refused = sum(
        after[source].get(reason, 0) - before[source].get(reason, 0)
        for reason in ("uplink_to_uplink", "redirect_closed")
    )
    assert 150 <= refused <= sent // 2
    assert (account["received"], account["duplicates"], account["out_of_order"]) == (
        sent - refused,
        0,
        0,
    )
    assert net.fabric.stats()["hairpin_dropped"] == hairpin
    # A frame from the VM teaches the fabric its location. All packets arrive again.
    speak(net, "vm")
    vms.run(20)
    vms.stream(second, source="nc", dst=mac(NUMBERS["vm"]), pps=1000, count=100)
    vms.stream_wait(second)
    assert vms.sink_wait(net.device("vm"), second, 100) == 100
    vms.stream_stop()


def test_slow_fabric_after_window_costs_only_senders_at_source(net):
    """The fabric drops and counts the packets that these senders send by the uplink."""
    habits, switched = HABITS["believes a new place too late"]
    net.fabric.forget()
    speak(net, "vm")
    net.vms.run(20)
    net.fabric.set(**habits)
    outcome = run_moves(net, "vm", traffic("vm", PPS), moves=1)
    assert [switched_on(moved) for moved in outcome.moves] == [switched]
    lost = {row["flow"]: row["lost"] for row in outcome.rows if row["lost"]}
    assert set(lost) <= {f"{'na' if net.place['vm'] == 'b' else 'nb'}->vm"}
    assert 0 < sum(lost.values()) <= outcome.fabric["hairpin_dropped"]  # includes probes
    assert all(
        row["duplicated"] == row["out_of_order"] == row["corrupt"] == 0 for row in outcome.rows
    ), str(outcome)
