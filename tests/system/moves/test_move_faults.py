# SPDX-License-Identifier: Apache-2.0
"""QEMU migrations that do not complete: cancelled, destination killed, post-copy requested.

The guests are real. The VM and its policy continue at the source, and a later move succeeds.
"""
import re
import time

import pytest
from switch import BUILD
from testbed.bed import Testbed
from testbed.process import wait_until
from testbed.qmp import QmpError
from testbed.scenario import MOVER, TwoHosts


@pytest.fixture(scope="module")
def scene():
    with Testbed() as bed:
        made = TwoHosts(
            bed,
            str(BUILD / "control" / "godwitd"),
            hugepages=False,
            transmit_count=100,
            receive_count=100,
        )
        made.boot()
        made.start_count()
        yield made
        reports = made.stop_count()
        for name, daemon in made.daemons.items():
            assert daemon.stop() == 0, name
    # Of all that was tried here, together.
    for name, report in reports.items():
        for target in report["targets"]:
            assert (target["received"], target["duplicated"]) == (
                target["sent"],
                0,
            ), f"{name}: {target}"
        assert made.heard(report, permitted=False) == 0, name


@pytest.fixture
def before(scene):
    """Returns the state that must not change: the VM's policy on both hosts."""
    return policy(scene)


def policy(scene):
    """Returns for each host the endpoints with their locations, and the listed rules."""
    out = {}
    for name, daemon in scene.daemons.items():
        endpoints = {
            e["name"]: (e["location"], e["state"], e["rules"])
            for e in daemon.rpc.call("show.endpoints")["endpoints"]
        }
        lists = [
            daemon.rpc.command(f"flow list {endpoint}")["text"].split(" #")[0]
            for endpoint in sorted(endpoints)
        ]
        out[name] = endpoints, [line.split(" #")[0] for text in lists for line in text.splitlines()]
    return out


def begin_slowly(scene, qemu, downtime_limit_ms=300, bandwidth=4 << 20):
    """Begins QEMU's migration at a rate that leaves time to interfere."""
    source = scene.mover.qemu
    qemu.qmp.connect(20)
    source.qmp.execute(
        "migrate-set-parameters", downtime_limit=downtime_limit_ms, max_bandwidth=bandwidth
    )
    source.qmp.execute("migrate", uri=f"tcp:{qemu.host.address}:{scene.mover._MIGRATION_PORT}")


def pings_go_on(scene):
    """Waits until another 50 pings of each guest are answered."""
    marks = {
        name: [t["received"] for t in vm.agent.report()["targets"]]
        for name, vm in scene.vms.items()
    }
    for name, vm in scene.vms.items():
        vm.agent.wait_for_report(
            lambda r, m=marks[name]: all(
                t["received"] >= was + 50 for t, was in zip(r["targets"], m)
            ),
            15,
            f"{name}: pings",
        )


def cancel_and_compare(scene, before):
    scene.daemons["host-a"].rpc.call("migrate.cancel", vm=MOVER)
    wait_until(
        lambda: scene.state("host-a") == "aborted" and scene.state("host-b") == "aborted",
        10,
        "both give the move up",
    )
    pings_go_on(scene)
    assert policy(scene) == before


def test_migration_cancelled_in_qemu_leaves_all_at_source(scene, before):
    qemu, _ = scene.prepare("host-b")
    begin_slowly(scene, qemu)
    time.sleep(1.0)
    assert scene.mover.qemu.qmp.execute("query-migrate")["status"] == "active"
    scene.mover.cancel_migration(qemu)
    pings_go_on(scene)
    assert (
        scene.state("host-a") == "prepared"
    ), "QEMU may try again: the operator says when it is over"
    cancel_and_compare(scene, before)


def test_destination_killed_with_vm_returns_it_to_source(scene, before):
    qemu, _ = scene.prepare("host-b")
    # With 8 MB a second and a downtime limit of 2.5 s, the VM stops with up to 20 MB to send.
    begin_slowly(scene, qemu, downtime_limit_ms=2500, bandwidth=8 << 20)
    wait_until(
        lambda: scene.state("host-a") == "handed-over", 60, "the VM stops at the source", 0.002
    )
    qemu.process.kill()
    wait_until(
        lambda: scene.mover.qemu.qmp.execute("query-status")["status"] == "running",
        10,
        "the VM resumes at the source",
    )
    wait_until(lambda: scene.state("host-a") == "prepared", 10, "the move is revoked")
    cancel_and_compare(scene, before)


def test_post_copy_is_refused_by_qemu_before_vm_stops(scene, before):
    qemu, _ = scene.prepare("host-b")
    qemu.qmp.connect(20)
    source = scene.mover.qemu
    # Without userfaultfd in the kernel QEMU refuses the capability. Otherwise it refuses the
    # migration because of the vhost-user back-end.
    try:
        for one in (qemu, source):
            one.qmp.execute(
                "migrate-set-capabilities",
                capabilities=[{"capability": "postcopy-ram", "state": True}],
            )
        source.qmp.execute("migrate", uri=f"tcp:{qemu.host.address}:{scene.mover._MIGRATION_PORT}")
        status = wait_until(lambda: scene.mover._migration_ended(source), 30, "QEMU refuses")
        reason = status["error-desc"] if status["status"] == "failed" else f"not refused: {status}"
        source.qmp.execute(
            "migrate-set-capabilities",
            capabilities=[{"capability": "postcopy-ram", "state": False}],
        )
    except QmpError as error:
        reason = str(error)
    print(reason)
    assert re.search("postcopy.*(not supported|not capable)", reason.lower())
    assert source.qmp.execute("query-status")["status"] == "running"
    qemu.quit()
    cancel_and_compare(scene, before)


def test_vm_moves_after_all_faults(scene):
    scene.move("host-b", settle_s=1.0)
    pings_go_on(scene)
