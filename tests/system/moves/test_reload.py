# SPDX-License-Identifier: Apache-2.0
"""SIGHUP changes peers, lists, limits and revoked certificates of a running switch.

Two daemons have certificates of one authority. host-l reads its configuration again; host-m is the
host that is locked out and let in again, and nothing of it is restarted.
"""
import json
import shutil
import signal
import tempfile
from types import SimpleNamespace

import pytest
import yaml
from certificates import Authority
from front_end_guests import wait_for
from move_hosts import free_port
from peer_client import PeerClient, hello
from testbed.daemon import RpcError


@pytest.fixture
def duo(make_switch, folder):
    made = SimpleNamespace()
    keys = tempfile.mkdtemp(prefix="gw-ca-")
    made.authority = Authority(keys)
    names = ("host-l", "host-m")
    made.files = {host: made.authority.issue(host) for host in names}
    made.ports = {host: free_port() for host in names}

    def switch_of(host, other):
        vm = {"name": "vm3/net0", "macs": ["02:00:00:00:00:03"]}
        if host == "host-m":
            vm["vhost"] = {"socket": f"{folder}/vm3-m.sock"}
        return make_switch(
            host,
            endpoints=[vm],
            migration={
                "listen": f"127.0.0.1:{made.ports[host]}",
                "tls": made.files[host] | {"revoked": made.authority.revoke()},
                "peers": {other: f"127.0.0.1:{made.ports[other]}"},
                "vhost_template": f"{folder}/{{vm}}-{{nic}}-{host}.sock",
            },
        ).start()

    made.here, made.other = switch_of("host-l", "host-m"), switch_of("host-m", "host-l")
    assert gets_in(made)
    yield made
    shutil.rmtree(keys)


def gets_in(duo):
    """Returns whether host-m reaches host-l."""
    try:
        return bool(duo.other.rpc.call("peer.ping", host="host-l"))
    except RpcError:
        return False


def session(duo):
    """Opens a session of host-m that stays open until host-l closes it."""
    peer = PeerClient(duo.ports["host-l"], duo.files["host-m"])
    peer.say(hello("host-m"))
    peer.hear()
    return peer


def reload(switch):
    """Returns the line with the outcome."""
    before = len(switch.log())

    def outcome():
        return [line for line in switch.log()[before:].splitlines() if " reload: " in line]

    switch.process.send_signal(signal.SIGHUP)
    wait_for(outcome, 5, "the outcome of the reload")
    return outcome()[0]


def change(switch, **keys):
    """Changes keys of `migration` in the file of a switch, which then reads it again."""
    whole = yaml.safe_load(switch.config_path.read_text())
    whole["migration"] |= keys
    switch.config_path.write_text(yaml.safe_dump(whole, sort_keys=False, width=1000))
    return reload(switch)


def test_removed_peer_is_locked_out_and_its_session_closed(duo):
    here = duo.here
    peers = {"host-m": f"127.0.0.1:{duo.ports['host-m']}"}
    with session(duo) as peer:
        change(here, peers={})
        peer.end()
    closed = "(host-m) is closed: it is no longer a peer of this switch"
    wait_for(lambda: closed in here.log(), 5, closed)
    assert not gets_in(duo) and here.data("peer list")["peers"] == []
    assert here.refused("peer ping host-m").data["token"] == "host-m"
    change(here, peers=peers)
    assert gets_in(duo) and here.rpc.call("peer.ping", host="host-m")


def test_revoked_certificate_is_locked_out_and_its_session_closed(duo):
    here, other = duo.here, duo.other
    other.may_log_errors = True
    with session(duo) as peer:
        duo.authority.revoke("host-m")  # the same file; the configuration does not change
        reload(here)
        peer.end()
    closed = "(host-m) is closed: its certificate (CN = host-m): certificate revoked"
    wait_for(lambda: closed in here.log(), 5, closed)
    assert not gets_in(duo)
    assert "is refused: TLS: the peer's certificate: certificate revoked (CN = host-m" in here.log()
    with pytest.raises(RpcError, match="certificate revoked"):
        here.rpc.call("peer.ping", host="host-m")
    reload(other)
    assert "the certificate is revoked, expected a new one: peers will refuse it" in other.log()
    duo.authority.issue("host-m")
    reload(other)
    assert gets_in(duo)


def test_allow_list_counts_for_the_next_move(duo):
    here, other = duo.here, duo.other
    change(here, allow_in=[])
    [listed] = here.data("peer list")["peers"]
    assert (listed["may_move_in"], listed["may_move_out"]) == (False, True)
    other.rpc.call("migrate.start", vm="vm3", peer="host-l")
    wait_for(
        lambda: "takes no VMs from host-m" in json.dumps(other.rpc.call("migrate.status")),
        5,
        "the refusal of the move",
    )
    change(here, allow_in=["host-m"])
    assert here.data("peer list")["peers"][0]["may_move_in"]


def test_bad_file_changes_nothing_and_is_logged(duo):
    here = duo.here
    here.may_log_errors = True
    good = here.config_path.read_text()
    for bad, says in (
        (good.replace("host: host-l", "host: host-z"), "it is for the host host-z"),
        (good.replace("host-m:", "host-m"), f"{here.config_path}:"),
        (good.replace("revoked.crl", "none.crl"), "none.crl: cannot be read"),
        (good.replace("migration:", "\udcff:"), "the byte 0xff is not part of UTF-8"),
    ):
        here.config_path.write_bytes(bad.encode(errors="surrogateescape"))
        line = reload(here)
        assert says in line and line.endswith("from before stay in use"), line
        assert gets_in(duo)


def test_settings_that_need_a_restart_are_named(duo):
    here = duo.here
    change(here, listen=f"127.0.0.1:{free_port()}", max_incoming=7, park_packets=77)
    named = "reload: a restart is needed to change migration.listen, migration.park_packets\n"
    wait_for(lambda: named in here.log(), 5, named)
    assert gets_in(duo)
