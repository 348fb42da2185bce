# SPDX-License-Identifier: Apache-2.0
"""The daemon from outside: start and stop, and the effect of each command."""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from certificates import Authority
from switch import REPO, RULES
from testbed.daemon import RpcClient


def run(godwitd, *arguments):
    return subprocess.run(
        [godwitd, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def rules_of(text):
    """Returns the rules of a `flow list` without the comments."""
    return [line.split(" #")[0] for line in text.splitlines()]


class TestLife:
    @pytest.mark.parametrize(
        "tunables, enabled",
        [(None, "0"), ("glibc.malloc.hugetlb=1", "1")],
        ids=["by-itself", "asked-for"],
    )
    def test_transparent_huge_pages_are_used_only_on_request(
        self, make_switch, monkeypatch, tunables, enabled
    ):
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
        if tunables:
            monkeypatch.setenv("GLIBC_TUNABLES", tunables)
        switch = make_switch().start()
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{switch.process.pid}/status").read_text().splitlines()
        )
        assert status["THP_enabled"].strip() == enabled

    def test_version_needs_no_configuration(self, godwitd):
        done = run(godwitd, "--version")
        assert done.returncode == 0 and re.fullmatch(r"godwitd \d+\.\d+\.\d+\n", done.stdout)

    def test_usage_errors_exit_with_2(self, godwitd):
        for arguments in ([], ["--check"], ["--what"], ["--config"], ["--config", "a", "b"]):
            assert run(godwitd, *arguments).returncode == 2, arguments

    @pytest.mark.parametrize("path", sorted((REPO / "conf").rglob("*.yaml")), ids=lambda p: p.name)
    def test_example_configurations_pass_the_check(self, godwitd, path, tmp_path):
        Authority(tmp_path).issue(path.stem)  # certificates are looked for beside the file
        shutil.copy(path, tmp_path)
        done = run(godwitd, "--config", str(tmp_path / path.name), "--check")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_daemon_on_signal_ends_cleanly(self, switch, number):
        assert "ready" in switch.log()
        assert stat.S_IMODE(os.stat(switch.socket_path).st_mode) == 0o660
        assert switch.stop(number) == 0
        assert not os.path.exists(switch.socket_path)
        assert " error " not in switch.log() and "lost" not in switch.log()

    def test_daemon_after_restart_has_the_same_policy(self, switch):
        endpoints, rules, _ = switch.picture()
        assert switch.stop() == 0
        switch.start()
        assert switch.picture()[:2] == (endpoints, rules)

    def test_daemon_after_crash_starts_again(self, switch):
        switch.stop(signal.SIGKILL)
        assert os.path.exists(switch.socket_path)
        switch.start()
        assert switch.rpc.call("version")["host"] == "host-t"

    def test_second_daemon_on_socket_is_refused(self, switch, godwitd):
        second = run(godwitd, "--config", str(switch.config_path))
        assert second.returncode == 1 and "another daemon is running" in second.stderr
        assert switch.rpc.call("version")

    def test_daemon_with_active_clients_ends_cleanly(self, switch):
        clients = []
        for half in (b"", b'{"jsonrpc":', b'{"jsonrpc":"2.0","id":1,"method":"show.endpoints"}\n'):
            client = socket.socket(socket.AF_UNIX)
            client.connect(switch.socket_path)
            client.sendall(half)
            clients.append(client)
        assert switch.stop() == 0
        for client in clients:
            client.close()

    def test_start_reports_line_of_port_that_cannot_open(self, make_switch):
        broken = make_switch(
            uplinks=[{"name": "up", "devargs": "net_af_packet0,iface=nosuchif0"}]
        ).spawn()
        assert broken.process.wait(60) == 1
        broken.process = None
        assert re.search(r"host-t\.yaml:\d+:\d+: up: ", broken.log())
        assert not os.path.exists(broken.socket_path)


class TestShow:
    def test_version_shows_host(self, switch):
        data = switch.rpc.call("version")
        assert data["host"] == "host-t"
        assert switch.text("version") == f"godwit {data['version']} on host-t\n"

    def test_ports_are_numbered_from_uplinks_on(self, switch):
        ports = switch.rpc.call("show.port.summary", port="all")["ports"]
        assert [(p["port"], p["name"]) for p in ports] == [
            (0, "physnet1"),
            (1, "vm1/net0"),
            (2, "vm2/net0"),
        ]
        assert switch.text("show port summary all").startswith("Number of available ports: 3\n")

    def test_port_is_found_by_number_or_endpoint_name(self, switch):
        by_name = switch.rpc.call("show.port.info", port="vm1/net0")
        assert (
            by_name
            == switch.rpc.call("show.port.info", port=1)
            == switch.rpc.call("show.port.info", port="1")
        )
        assert by_name["ports"][0]["driver"] == "vhost-user"
        assert "Infos for port 1 " in switch.text("show port info 1")

    def test_statistics_include_every_port(self, switch):
        ports = switch.rpc.call("show.port.stats", port="all")["ports"]
        assert len(ports) == 3
        assert set(ports[0]) == {
            "port",
            "name",
            "rx_packets",
            "rx_bytes",
            "tx_packets",
            "tx_bytes",
            "drops",
        }
        assert "NIC statistics for port 2 " in switch.text("show port stats all")
        assert "port 1 cleared" in switch.text("clear port stats vm1/net0")

    def test_endpoints_have_location_state_and_rules(self, switch):
        by_name = {e["name"]: e for e in switch.rpc.call("show.endpoints")["endpoints"]}
        assert {n: e["location"] for n, e in by_name.items()} == {
            "physnet1": "port 0",
            "vm1/net0": "port 1",
            "vm2/net0": "port 2",
            "vm7/net0": "uplink physnet1",
        }
        assert {e["state"] for e in by_name.values()} == {"active"}
        assert by_name["physnet1"]["kind"] == "uplink" and by_name["vm1/net0"]["kind"] == "vm"
        assert by_name["vm2/net0"]["rules"] == {"ingress": 1, "egress": 1, "transfer": 0}
        assert by_name["vm2/net0"]["ips"] == ["10.0.0.2", "fd00::2"]

    def test_other_show_commands_reply(self, switch):
        assert switch.rpc.call("show.drops")["unpoliced_packets"] == 0
        workers = switch.rpc.call("show.workers")["workers"]
        assert len(workers) == 1 and workers[0]["running"]
        memory = switch.rpc.call("show.memory")
        assert not memory["hugepages"] and memory["pools"][0]["size"] == 8192
        assert switch.rpc.call("show.fdb")["entries"] == []
        for line in (
            "show drops",
            "show workers",
            "show memory",
            "show fdb",
            "show endpoints",
            "peer list",
            "migrate list",
            "migrate status",
        ):
            assert switch.text(line)

    def test_help_lists_every_command_and_every_method_exists(self, switch):
        commands = switch.rpc.call("help")["commands"]
        assert len(commands) > 30
        for command in commands:
            assert command["words"] in switch.text("help")
            assert switch.text("help " + command["words"]).startswith(command["words"])
            error = None
            try:
                switch.rpc.call(command["method"], surely_no_parameter=1)
            except Exception as refusal:  # noqa: BLE001
                error = refusal
            assert error is not None and error.code == -32602, command

    def test_completion_offers_words_and_names(self, switch):
        def words(line):
            return [c["word"] for c in switch.rpc.call("complete", line=line)["candidates"]]

        assert words("sh") == ["show"]
        assert words("show p") == ["port"]
        assert words("show port ") == ["summary", "info", "stats"]
        assert "vm1/net0" in words("show port stats vm") and "all" in words("show port stats ")
        assert words("migration export vm") == ["vm1", "vm2", "vm7"]
        assert "uplink:physnet1" in words("endpoint set vm7/net0 location ")
        assert "create" in words("flow c")
        assert "ingress" in words("flow create vm1/net0 in")
        assert switch.rpc.call("complete", line="show port x", cursor=6)["begin"] == 5


class TestFlow:
    def test_rules_of_configuration_are_installed(self, switch):
        assert rules_of(switch.text("flow list vm1/net0")) == RULES[:2]
        assert rules_of(switch.text("flow list vm2/net0")) == RULES[2:]

    def test_rule_list_entered_again_gives_the_same_rules(self, switch):
        before = {name: switch.text(f"flow list {name}") for name in ("vm1/net0", "vm2/net0")}
        lines = "".join(before.values()).splitlines()
        for name in before:
            assert switch.text(f"flow flush {name}") == "2 flow rules destroyed\n"
            assert switch.text(f"flow list {name}") == ""
        for line in lines:
            assert re.fullmatch(r"Flow rule #\d+ created\n", switch.text(line))  # with its comment
        after = {name: switch.text(f"flow list {name}") for name in before}
        assert {n: rules_of(t) for n, t in after.items()} == {
            n: rules_of(t) for n, t in before.items()
        }

    def test_rule_list_shows_targets_of_outputs(self, switch):
        lines = switch.text("flow list vm1/net0").splitlines()
        assert lines[0].endswith("# rule 0: vm2/net0 at port 2")
        assert lines[1].endswith("# rule 1: vm7/net0 via physnet1")

    def test_port_numbers_in_rules_become_names(self, switch):
        assert (
            switch.text(
                "flow create 1 ingress pattern eth / end actions represented_port ethdev_port_id 2 "
                "/ end"
            )
            == "Flow rule #2 created\n"
        )
        assert "flow create vm1/net0 ingress" in switch.text("flow list 1")
        assert switch.data("flow list 1")["rules"][2]["outputs"][0]["name"] == "vm2/net0"

    def test_testpmd_texts_are_accepted(self, switch):
        rule = "vm1/net0 ingress pattern eth / end actions drop / end"
        assert switch.text("flow validate " + rule) == "Flow rule validated\n"
        assert switch.text("flow create " + rule) == "Flow rule #2 created\n"
        assert (
            switch.text("flow query vm1/net0 2 count")
            == "COUNT:\n hits_set: 1\n bytes_set: 1\n hits: 0\n bytes: 0\n"
        )
        assert "sequence" in switch.text("flow dump vm1/net0 rule 2")
        assert (
            switch.text("flow destroy vm1/net0 rule 2 rule 0")
            == "Flow rule #2 destroyed\nFlow rule #0 destroyed\n"
        )
        assert len(switch.data("flow list vm1/net0")["rules"]) == 1
        assert len(switch.data("flow list vm2/net0 group 4")["rules"]) == 1

    def test_validate_creates_nothing(self, switch):
        before = switch.picture()
        switch.text("flow validate vm1/net0 ingress pattern eth / end actions drop / end")
        assert switch.picture() == before

    def test_destroy_is_all_or_nothing(self, switch):
        before = switch.picture()
        assert (
            switch.refused("flow destroy vm1/net0 rule 0 rule 99").message
            == "no rule 99 of vm1/net0"
        )
        assert switch.picture() == before

    def test_methods_accept_parts_of_rule_by_name(self, switch):
        created = switch.rpc.call(
            "flow.create", text="vm1/net0 ingress pattern eth / end actions drop / end"
        )
        assert created == {"port": "vm1/net0", "id": 2}
        assert switch.rpc.call("flow.query", port="vm1/net0", rule=2)["packets"] == 0
        assert len(switch.rpc.call("flow.list", port=1)["rules"]) == 3
        assert switch.rpc.call("flow.destroy", port="vm1/net0", rules=[2])["rules"] == [2]
        assert switch.rpc.call("flow.flush", port="vm1/net0")["destroyed"] == 2


class TestPortsAndEndpoints:
    def test_port_removed_and_added_keeps_its_rules(self, switch, folder):
        attached = switch.text(
            f"port attach vhost vm7/net0 socket={folder}/vm7.sock,mode=server,queues=2"
        )
        assert attached == "Port 3 is attached. Now total ports is 4\n"
        assert os.path.exists(f"{folder}/vm7.sock")
        vm7 = next(e for e in switch.data("show endpoints")["endpoints"] if e["name"] == "vm7/net0")
        assert (vm7["location"], vm7["port"], vm7["macs"], vm7["queues"]) == (
            "port 3",
            3,
            ["02:00:00:00:00:07"],
            2,
        )
        switch.text("flow create vm7/net0 ingress pattern eth / end actions drop / end")
        assert switch.text("port detach vm7/net0") == "Port 3 is detached\nNow total ports is 3\n"
        assert not os.path.exists(f"{folder}/vm7.sock")
        assert len(switch.data("flow list vm7/net0")["rules"]) == 1
        assert (
            switch.text("endpoint set vm7/net0 location uplink:physnet1")
            == "Endpoint vm7/net0: uplink physnet1\n"
        )

    def test_port_that_cannot_open_leaves_nothing(self, switch, folder):
        switch.may_log_errors = True
        before = switch.picture()
        for line in (
            "port attach vhost new/net0 socket=" + "x" * 200,
            f"port attach vhost new/net0 socket={folder}/nowhere/x.sock,mode=server",
            f"port attach vhost new/net0 socket={folder}/x.sock,mac=02:00:00:00:00:01",
            f"port attach vhost vm1/net0 socket={folder}/x.sock",
            f"port attach vhost physnet1 socket={folder}/x.sock",
            "port attach ethdev up2 net_nonsense0",
            "port attach ethdev vm7/net0 net_null1",
        ):
            switch.refused(line)
            assert switch.picture() == before, line

    def test_second_uplink_can_be_added(self, switch):
        switch.text("port attach ethdev up2 net_null7,no-rx=1 mtu=1400")
        info = switch.rpc.call("show.port.info", port="up2")["ports"][0]
        assert (info["mtu"], info["kind"], info["link"]) == (1400, "ethdev", "up")
        switch.text(
            "endpoint add vm9/net0 location uplink:up2 mac 02:00:00:00:00:09 ip 10.0.0.9 vlan 5 "
            "miss drop"
        )
        vm9 = next(e for e in switch.data("show endpoints")["endpoints"] if e["name"] == "vm9/net0")
        assert (vm9["location"], vm9["vlans"], vm9["miss"]) == ("uplink up2", [5], "drop")
        switch.text("endpoint del vm9/net0")
        switch.text("port detach up2")
        switch.text("endpoint del up2")
        assert "up2" not in switch.text("show endpoints")

    def test_endpoint_named_by_rules_cannot_be_removed(self, switch):
        assert "1 rules still name vm7/net0" in switch.refused("endpoint del vm7/net0").message
        assert "still owns 2 rules" in switch.refused("endpoint del vm1/net0").message


class TestErrors:
    @pytest.mark.parametrize(
        "line, column, token",
        [
            ("shwo endpoints", 1, "shwo"),
            ("show endpoint", 6, "endpoint"),
            ("show", 5, None),
            ("show port stats", 16, None),
            ("show port stats vm9", 17, "vm9"),
            ("show port stats 77", 17, "77"),
            ("show endpoints now", 16, "now"),
            ("flow", 5, None),
            ("flow make 0", 6, "make"),
            ("flow create vm9 ingress pattern eth / end actions drop / end", 13, "vm9"),
            ("  flow create vm1/net0 ingress pattern ethh / end actions drop / end", 40, "ethh"),
            (
                "flow create vm1/net0 ingress pattern eth / end "
                "actions represented_port ethdev_port_id vm9 / end",
                88,
                "vm9",
            ),
            ("flow list vm1/net0 grup 1", 20, "grup"),
            ("flow query vm1/net0 99 count", 21, "99"),
            ("flow dump vm1/net0 all rules.txt", 24, "rules.txt"),
            ("port detach 9", 13, "9"),
            ("port attach vhost v/net0 sock=/x", 26, "sock=/x"),
            ("port attach vhost v/net0 socket=/x,queues=many", 43, "many"),
            ("port attach vhost 1v socket=/x", 19, "1v"),
            ("endpoint add v/net0 location uplink:nowhere", 30, "uplink:nowhere"),
            ("endpoint add v/net0 colour red", 21, "colour"),
            ("endpoint set vm7/net0 mac 02", 27, "02"),
            ("migration import doc.json vm1/net0=file:x", 27, "vm1/net0=file:x"),
        ],
    )
    def test_rule_error_has_column_token_and_expectation(self, switch, line, column, token):
        error = switch.refused(line)
        assert error.data.get("column") == column, error.data
        assert error.data.get("token") == token
        assert error.code in (-32000, -32602)
        if token not in ("99", "vm1/net0"):
            assert error.data.get("expected"), error.message

    def test_error_codes_are_those_of_json_rpc(self, switch):
        for method, params, code in [
            ("nonsense", {}, -32601),
            ("show.endpoints", {"x": 1}, -32602),
            ("show.port.stats", {"port": [1]}, -32602),
            ("flow.create", {}, -32602),
            ("flow.create", {"text": 1}, -32602),
            ("flow.destroy", {"port": 1}, -32602),
            ("flow.destroy", {"port": 1, "rules": [-1]}, -32602),
            ("command", {}, -32602),
            ("migrate.start", {"vm": "vm1"}, -32602),
            ("migration.import", {"document": {}, "bind": []}, -32000),
            ("migration.export", {"vm": "nobody"}, -32000),
        ]:
            with pytest.raises(Exception) as caught:
                switch.rpc.call(method, **params)
            assert caught.value.code == code, (method, params, caught.value.message)


class TestMigrationByHand:
    def test_export_rewrite_import_brings_the_rules_back(self, switch):
        before = rules_of(switch.text("flow list vm2/net0"))
        document = switch.rpc.call("migration.export", vm="vm2")
        assert document["vm"] == "vm2" and len(document["rules"]) == 2
        report = switch.rpc.call("migration.rewrite", vm="vm2")
        assert report["transmit_rules_removed"] == 2 and report["receive_rules_rewritten"] == 1
        assert report["old_ports"] == {"vm2/net0": 2}
        assert switch.text("flow list vm2/net0") == ""
        assert switch.text("flow list vm1/net0").splitlines()[0].endswith("vm2/net0 via physnet1")
        switch.text("port detach 2")
        report = switch.rpc.call("migration.import", document=document)
        assert report["rules_imported"] == 2
        assert rules_of(switch.text("flow list vm2/net0")) == before
        assert " at port " in switch.text("flow list vm1/net0").splitlines()[0]

    def test_printed_export_is_the_document(self, switch):
        answer = switch.rpc.command("migration export vm1")
        assert (
            json.loads(answer["text"])
            == answer["data"]
            == switch.rpc.call("migration.export", vm="vm1")
        )


def test_many_clients_at_once_get_their_own_answers(switch):
    failures = []

    def work(number):
        client = RpcClient(switch.socket_path)
        try:
            for _ in range(50):
                rule = f"vm1/net0 ingress group {number + 10} pattern eth / end actions drop / end"
                made = client.call("flow.create", text=rule)
                listed = client.call("flow.list", port="vm1/net0", groups=[number + 10])["rules"]
                if [r["id"] for r in listed] != [made["id"]]:
                    failures.append((number, made, listed))
                client.call("flow.destroy", port="vm1/net0", rules=[made["id"]])
        except Exception as error:  # noqa: BLE001
            failures.append((number, repr(error)))
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(switch.data("flow list vm1/net0")["rules"]) == 2
