# SPDX-License-Identifier: Apache-2.0
"""Moves whose peers lose each other at any time: the VM has its policy and network where it runs.

Two real daemons reach each other by links that a test cuts. The front-end acts as QEMU, which
knows nothing of the links and goes on.
"""
import pytest
from front_end_guests import wait_for
from move_hosts import hosts, run_flows, traffic
from peer_links import PeerLinks

PPS = 2000
CLAIM_S = 3  # how long rings run at a destination that cannot ask before it takes the VM


@pytest.fixture(scope="module")
def links():
    with PeerLinks() as made:
        yield made


@pytest.fixture(scope="module")
def net(godwitd, links):
    state = {"state": {"directory": "FOLDER/state-HOST"}}
    with hosts(godwitd, {"window_timeout_ms": 700}, links=links, more=state) as made:
        yield made
        assert made.unpoliced() == 0


@pytest.fixture(autouse=True)
def mended(net, links):
    yield
    links.mend()
    net.vms.stream_stop()


def state(net, host, move):
    return net.status(host, move)["state"]


def rules(net, host):
    """Returns the VM's rules in force at a host."""
    text = net.switches[host].rpc.command("flow list vm/net0")["text"]
    return sorted(line.split(" #")[0].split(None, 1)[1] for line in text.splitlines()[1:])


def pause(net):
    net.vms.log(net.device("vm"), "on")
    net.vms.run(20)
    net.vms.stop(net.device("vm"))
    net.vms.run(30)


def resume_at(net, host):
    net.vms.resume(net.device("vm"), on=f"vm-{host}", mode="dirty")
    net.place["vm"] = host


def ends_done(net, move, seconds=20):
    for host in "ab":
        wait_for(lambda: state(net, host, move) == "done", seconds, f"done at {host}")


def receives_all(net):
    """The VM sends to the machine on the fabric, and gets all that is sent to it."""

    def send_for_a_while():
        net.vms.run(300)
        yield from ()

    outcome = run_flows(net, traffic("vm", PPS), send_for_a_while())
    assert outcome.wrong() == [], str(outcome)


def test_link_cut_while_prepared_does_not_end_the_move(net, links):
    source, destination = net.place["vm"], net.other("vm")
    before = rules(net, source)
    move = net.prepare("vm")
    links.cut()
    wait_for(lambda: state(net, source, move) == "detached", 5, "noticed at the source")
    wait_for(lambda: state(net, destination, move) == "stranded", 5, "noticed at the destination")
    receives_all(net)  # the VM runs on, with its policy
    made = net.switches[source].rpc.command(
        "flow create vm/net0 ingress priority 3 pattern eth / ipv4 / tcp dst is 99 / end actions "
        "drop / end"
    )
    assert made
    changed = rules(net, source)
    assert changed != before
    links.mend()
    wait_for(lambda: state(net, source, move) == "prepared", 5, "goes on")
    pause(net)
    resume_at(net, destination)
    ends_done(net, move)
    assert rules(net, destination) == changed, "the change that was made meanwhile has come along"
    receives_all(net)


def test_vm_that_arrives_during_cut_has_its_policy_and_the_move_completes(net, links):
    source, destination = net.place["vm"], net.other("vm")
    before = rules(net, source)
    move = net.prepare("vm")
    links.cut()
    wait_for(lambda: state(net, source, move) == "detached", 5, "noticed at the source")
    pause(net)
    wait_for(lambda: state(net, source, move) == "in-doubt", 5, "stopped at the source")
    resume_at(net, destination)
    wait_for(lambda: state(net, destination, move) == "open", CLAIM_S + 2, "claimed")
    assert rules(net, destination) == before
    links.mend()
    ends_done(net, move)
    receives_all(net)


def test_link_mended_before_the_claim_hands_over(net, links):
    source, destination = net.place["vm"], net.other("vm")
    move = net.prepare("vm")
    links.cut()
    wait_for(lambda: state(net, destination, move) == "stranded", 5, "noticed")
    pause(net)
    resume_at(net, destination)
    links.mend()
    ends_done(net, move)
    assert all(step["state"] != "claimed" for step in net.status(source, move).get("steps", []))
    receives_all(net)


def test_cancel_at_source_does_not_take_policy_of_vm_that_runs_at_destination(net, links):
    source, destination = net.place["vm"], net.other("vm")
    move = net.prepare("vm")
    links.cut()
    wait_for(lambda: state(net, source, move) == "detached", 5, "noticed")
    net.switches[source].rpc.call("migrate.cancel", vm="vm")
    assert state(net, source, move) == "aborted"
    net.vms.log(net.device("vm"), "on")
    net.vms.run(20)
    net.vms.stop(net.device("vm"))
    resume_at(net, destination)
    links.mend()
    wait_for(lambda: state(net, destination, move) in ("open", "done"), CLAIM_S + 3, "claimed")
    assert "vm/net0" in [
        endpoint["name"]
        for endpoint in net.switches[destination].rpc.call("show.endpoints")["endpoints"]
        if endpoint["location"].startswith("port")
    ]
