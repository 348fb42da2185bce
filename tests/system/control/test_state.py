# SPDX-License-Identifier: Apache-2.0
"""The state survives a restart after SIGTERM, SIGKILL, an edited configuration and a full disk."""
import os
import re
import signal
import sqlite3
import subprocess
import time

import pytest
import yaml
from switch import RULES, VM1, VM2, VM7


@pytest.fixture
def endpoints(folder):
    return yaml.safe_load(yaml.safe_dump([VM1, VM2, VM7]).replace("{folder}", str(folder)))


@pytest.fixture
def stateful(make_switch, folder, endpoints):
    return make_switch(
        endpoints=endpoints,
        rules=RULES,
        migration={"vhost_template": f"{folder}/{{vm}}-{{nic}}.sock"},
        state={"directory": f"{folder}/state"},
    ).start()


def kill(switch):
    switch.rpc.close()
    switch.process.kill()
    switch.process.wait()
    switch.process = None


def edit(switch, change):
    config = yaml.safe_load(switch.config_path.read_text())
    change(config)
    switch.config_path.write_text(yaml.safe_dump(config, sort_keys=False, width=1000))


def policy(switch):
    """Returns the endpoints, their locations and the rules.

    Leaves out counts and port numbers, which a restart does not keep.
    """
    endpoints = {
        e["name"]: (re.sub(r"port \d+", "port", e["location"]), e["macs"], e["ips"], e["mtu"])
        for e in switch.data("show endpoints")["endpoints"]
    }
    return endpoints, {
        name: re.sub(r"at port \d+", "at port", switch.text(f"flow list {name}"))
        for name in endpoints
    }


def change_everything(switch, folder):
    """Runs one of each command that changes policy."""
    assert (
        switch.text(
            "flow create vm1/net0 ingress priority 9 pattern eth / ipv6 / end actions drop / end"
        )
        == "Flow rule #2 created\n"
    )
    switch.text("flow destroy vm1/net0 rule 0")
    switch.text("flow flush vm2/net0")
    switch.text(
        "flow create physnet1 ingress pattern eth / end "
        "actions represented_port ethdev_port_id vm2/net0 / end"
    )
    switch.text(
        "port attach vhost vm3/net0 "
        f"socket={folder}/vm3.sock,mode=server,mac=02:00:00:00:00:03,ip=fd00::3,mtu=9000,queues=2"
    )
    switch.text("flow create vm3/net0 egress pattern eth / end actions count / end")
    switch.text("port detach vm2/net0")
    switch.text("endpoint add vm9/net0 location uplink:physnet1 mac 02:00:00:00:00:09")
    switch.text("endpoint set vm9/net0 ip 10.0.0.9")
    switch.text("endpoint add vm8/net0")
    switch.text("endpoint del vm8/net0")
    switch.text(f"port attach vhost vm6/net0 socket={folder}/vm6.sock")
    switch.text("endpoint set vm6/net0 location uplink:physnet1")
    switch.text("port attach ethdev physnet2 net_null7,no-rx=1")


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_changes_by_commands_survive_restart(stateful, folder, how):
    change_everything(stateful, folder)
    before = policy(stateful)
    assert (
        before[0]["vm3/net0"][0] == "port"
        and before[0]["vm2/net0"][0] == "none"
        and "vm8/net0" not in before[0]
    )
    if how == "SIGKILL":
        kill(stateful)
    else:
        assert stateful.stop(signal.SIGTERM) == 0
    stateful.start()
    assert policy(stateful) == before
    assert re.search(
        r"state .*/state: 8 endpoints, \d+ rules, 0 moves",
        stateful.log().rsplit("EAL is up", 1)[1].split("ready:")[0],
    ), stateful.log()
    # Ids continue after the restart, and objects from before it can be deleted.
    stateful.text("flow destroy vm1/net0 rule 2")
    assert (
        stateful.text("flow create vm3/net0 ingress pattern eth / end actions drop / end")
        == "Flow rule #1 created\n"
    )


def test_edited_configuration_applies_and_keeps_changes_by_commands(stateful, folder):
    change_everything(stateful, folder)
    before = policy(stateful)

    def change(config):
        config["rules"][1] = config["rules"][1].replace("priority 3", "priority 4")
        config["endpoints"][2]["macs"] = ["02:00:00:00:00:17"]

    assert stateful.stop() == 0
    edit(stateful, change)
    check = subprocess.run(
        [stateful.binary, "--config", stateful.config_path, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
    stateful.start()
    after = policy(stateful)
    assert after[0] == before[0] | {
        "vm7/net0": (before[0]["vm7/net0"][0], ["02:00:00:00:00:17"], [], 1500)
    }
    lines = [line.split(" #")[0] for line in before[1]["vm1/net0"].splitlines()]
    assert [line.split(" #")[0] for line in after[1]["vm1/net0"].splitlines()] == [
        lines[1],
        lines[0].replace("priority 3", "priority 4"),
    ]
    assert {k: v for k, v in after[1].items() if k != "vm1/net0"} == {
        k: v for k, v in before[1].items() if k != "vm1/net0"
    }


def test_unrestorable_state_is_reported_and_removed_on_request(
    stateful,
):
    stateful.text("port attach ethdev physnet2 net_null7,no-rx=1")
    assert stateful.stop() == 0
    edit(
        stateful,
        lambda config: config["uplinks"].append(
            {"name": "physnet3", "devargs": "net_null8,no-rx=1"}
        ),
    )
    stateful.start()
    stateful.text(
        "flow create vm1/net0 ingress priority 77 pattern eth / end "
        "actions represented_port ethdev_port_id physnet3 / end"
    )
    assert stateful.stop() == 0
    edit(stateful, lambda config: config["uplinks"].pop())
    words = "rule 2 of vm1/net0: the uplink physnet3 is no longer in the file"
    check = subprocess.run(
        [stateful.binary, "--config", stateful.config_path, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        check.returncode == 1 and words in check.stderr and "--forget-lost" in check.stderr
    ), check
    run = subprocess.run(
        [stateful.binary, "--config", stateful.config_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1 and words in run.stderr, run
    forget = subprocess.run(
        [stateful.binary, "--config", stateful.config_path, "--forget-lost"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert forget.returncode == 0 and words in forget.stdout, forget
    stateful.start()
    assert "priority 77" not in stateful.text("flow list vm1/net0")
    assert len(stateful.data("flow list vm1/net0")["rules"]) == 2


def test_second_daemon_cannot_use_state_directory(stateful, make_switch, folder):
    other = make_switch("host-u", state={"directory": f"{folder}/state"})
    run = subprocess.run(
        [other.binary, "--config", other.config_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1
    assert (
        f"{other.config_path}:" in run.stderr
        and f"another daemon's (pid {stateful.process.pid})" in run.stderr
    ), run.stderr


def test_damaged_state_file_is_reported_and_stops_the_start(stateful, folder):
    assert stateful.stop() == 0
    path = folder / "state" / "state.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    run = subprocess.run(
        [stateful.binary, "--config", stateful.config_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1 and str(path) in run.stderr and "aside" in run.stderr, run.stderr
    path.write_bytes(data)
    stateful.start()


def test_damaged_rule_closes_its_port_only_and_is_forgotten_on_demand(stateful, folder):
    stateful.text("flow create vm1/net0 ingress priority 5 pattern eth / end actions drop / end")
    rules = len(stateful.data("flow list vm1/net0")["rules"])
    assert stateful.stop() == 0
    with sqlite3.connect(folder / "state" / "state.sqlite") as state:
        state.execute("UPDATE rules SET text=text||' ' WHERE inside='vm1/net0' AND id=0")
    state.close()
    stateful.start()
    assert len(stateful.data("flow list vm1/net0")["rules"]) == rules - 1
    assert "rule 0 of vm1/net0" in stateful.log() and "stays closed" in stateful.log()
    shown = stateful.data("show state")
    assert shown["set_aside"] == 1 and shown["records"][0]["closed"] == "vm1/net0", shown
    names = [port["name"] for port in stateful.data("show port summary all")["ports"]]
    assert "vm1/net0" not in names and "vm2/net0" in names, names
    assert stateful.stop() == 0
    forget = subprocess.run(
        [stateful.binary, "--config", stateful.config_path, "--forget-lost"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert forget.returncode == 0 and "rule 0 of vm1/net0" in forget.stdout, forget
    stateful.start()
    names = [port["name"] for port in stateful.data("show port summary all")["ports"]]
    assert "vm1/net0" in names and stateful.data("show state")["set_aside"] == 0, names


def test_full_disk_refuses_commands_and_changes_nothing(make_switch, folder, endpoints):
    place = folder / "small"
    place.mkdir()
    if (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place],
            capture_output=True,
            check=False,
        ).returncode
        != 0
    ):
        pytest.skip("cannot run here: tmpfs cannot be mounted")
    try:
        switch = make_switch(
            endpoints=endpoints, rules=RULES, state={"directory": f"{place}/state", "sync_ms": 0}
        ).start()
        (place / "ballast").write_bytes(
            b"x" * (os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - 200_000)
        )
        refused = None
        for number in range(2000):
            try:
                switch.text(
                    f"flow create vm1/net0 ingress priority {number} pattern eth "
                    "/ ipv4 src is 10.0.0.1 / end actions drop / end"
                )
            except Exception as error:  # noqa: BLE001
                refused = error
                break
        assert (
            refused is not None
            and "cannot write to the state journal; nothing was changed" in str(refused)
            and "full" in str(refused)
        ), refused
        before = policy(switch)
        for line in (
            "flow flush vm1/net0",
            "port detach vm2/net0",
            "endpoint add vm9/net0",
            f"port attach vhost vm5/net0 socket={folder}/5.sock",
            "flow create vm1/net0 ingress pattern eth / end actions drop / end",
            "migration rewrite vm1",
        ):
            message = switch.refused(line).message
            assert (
                "cannot write to the state journal" in message or "cannot be stored" in message
            ), (line, message)
            assert policy(switch) == before, line
        (place / "ballast").unlink()
        switch.text("endpoint add vm9/net0")
        before = policy(switch)
        kill(switch)
        switch.start()
        assert policy(switch) == before
        assert switch.stop() == 0
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def test_export_rewrite_and_import_by_hand_survive_a_kill(stateful):
    document = stateful.rpc.call("migration.export", vm="vm1")
    stateful.text("migration rewrite vm1")
    after_rewrite = policy(stateful)
    assert after_rewrite[0]["vm1/net0"][0] == "uplink physnet1"
    kill(stateful)
    stateful.start()
    assert policy(stateful) == after_rewrite
    stateful.rpc.call("migration.import", document=document)
    after_import = policy(stateful)
    assert after_import[0]["vm1/net0"][0] == "port"
    kill(stateful)
    stateful.start()
    assert policy(stateful) == after_import
    again = stateful.rpc.call("migration.export", vm="vm1")
    assert (again["digest"], again["epoch"]) == (
        document["digest"],
        {"counter": document["epoch"]["counter"] + 1, "host": "host-t"},
    )


def test_single_rules_with_state_take_under_5_ms_each(stateful):
    """Prints the rate. The bound only shows that rules do not each wait for a sync."""
    count = 2000
    began = time.monotonic()
    for number in range(count):
        stateful.rpc.call(
            "flow.create",
            text=f"vm1/net0 ingress priority {number} pattern eth / "
            f"ipv4 dst is 10.1.{number // 256}.{number % 256} / end actions drop / end",
        )
    took = time.monotonic() - began
    print(f"{count / took:.0f} flow creates a second, each stored")
    kill(stateful)
    stateful.start()
    assert len(stateful.data("flow list vm1/net0")["rules"]) == count + 2
    assert took < count * 0.005
