# SPDX-License-Identifier: Apache-2.0
"""A peer on the list sends what no switch sends: nothing of it stays, and no memory grows."""
import re
import socket
import time

import pytest
import yaml
from front_end_guests import wait_for
from move_hosts import free_port
from peer_client import (
    ABORT,
    HELLO,
    OFFER,
    PING,
    REFUSED,
    PeerClient,
    field,
    fields,
    framed,
    hello,
    message,
    offer,
)
from switch import VM1

PREPARED, DIGEST_OF_OFFER = 12, 7
MIB = 1 << 20


class FakePeer(PeerClient):
    """The other side of a session that the switch opens."""

    def __init__(self, listener):
        self.sent, self._unread, self._tls = b"", b"", None
        self._socket, _ = listener.accept()
        self._socket.settimeout(10)


@pytest.fixture
def place(make_switch, folder):
    """A switch with a state directory, the port that it listens on and its peer's listener."""
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        switch = make_switch(
            "host-b",
            endpoints=yaml.safe_load(yaml.safe_dump([VM1]).replace("{folder}", str(folder))),
            state={"directory": f"{folder}/state"},
            migration={
                "listen": f"127.0.0.1:{port}",
                "peers": {"host-a": "127.0.0.1:%d" % listener.getsockname()[1]},
                "vhost_template": f"{folder}/{{vm}}-{{nic}}.sock",
            },
        ).start()
        yield switch, port, listener


def connected(port):
    peer = PeerClient(port, tls=False)
    peer.say(hello("host-a"))
    assert HELLO in peer.hear()
    return peer


def resident_bytes(switch):
    status = open(f"/proc/{switch.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def restart(switch):
    assert switch.stop() == 0
    switch.start()
    assert switch.data("show state") == {"kept": True, "set_aside": 0, "records": []}


def test_offer_of_enormous_epoch_is_refused_and_not_stored(place):
    switch, port, _ = place
    document = switch.rpc.call("migration.export", vm="vm1") | {"vm": "vm9"}
    with connected(port) as peer:
        peer.say(offer(document, "01d01d", (1 << 63, "host-a")))
        peer.end()
    wait_for(lambda: "epoch 9223372036854775808, at most" in switch.log(), 5, "the reason")
    restart(switch)


def test_long_reasons_after_prepared_do_not_keep_the_switch_from_starting(place):
    switch, _, listener = place
    move = switch.rpc.call("migrate.start", vm="vm1", peer="host-a")["id"]
    with FakePeer(listener) as peer:
        assert HELLO in peer.hear()
        peer.say(hello("host-a"))
        digest = fields(peer.hear()[OFFER][0])[DIGEST_OF_OFFER][0]
        reasons = b"".join(field(1, f"{number} " + "x" * 1000) for number in range(100))
        peer.say(message("vm1", move, PREPARED, field(1, digest)))
        peer.say(message("vm1", move, REFUSED, reasons))
        peer.say(message("vm1", move, ABORT, field(1, "gone")))
        time.sleep(0.5)
    if switch.rpc.call("migrate.status")["moves"][0]["state"] not in ("done", "aborted"):
        switch.text("migrate cancel vm1")
    restart(switch)


def test_words_of_a_peer_forge_no_line_of_the_log(place):
    switch, port, listener = place
    with connected(port) as peer:
        peer.say(message("vm1", "id\n2026-11-28 forged", ABORT, field(1, "no")))
        peer.end()
    move = switch.rpc.call("migrate.start", vm="vm1", peer="host-a")["id"]
    with FakePeer(listener) as peer:
        assert HELLO in peer.hear()
        peer.say(hello("host-a"))
        assert OFFER in peer.hear()
        peer.say(message("vm1", move, REFUSED, field(1, "no\n\x1b[2Jforged") + field(1, "forged")))
        wait_for(
            lambda: switch.rpc.call("migrate.status")["moves"][0]["state"] == "aborted", 5, "end"
        )
    lines = switch.log().splitlines()
    assert any("no?" in line and "forged" in line for line in lines), lines[-5:]
    assert not any("\x1b" in line or line.startswith(("forged", "2026-11-28 f")) for line in lines)


def test_nested_entries_of_an_offer_are_counted_before_they_are_parsed(place):
    switch, port, _ = place
    before = resident_bytes(switch)
    body = field(3, b"\x12\x00" * (31 * MIB))  # empty MACs of one profile
    with connected(port) as peer:
        peer.say(framed(field(1, "vm9") + field(2, "01d01d") + field(OFFER, body)))
        peer.end()
    wait_for(lambda: "peer: profile of" in switch.log() or "profile of" in switch.log(), 5, "why")
    assert resident_bytes(switch) - before < 160 * MIB


def test_pings_whose_answers_are_not_read_take_no_memory(place):
    switch, port, _ = place
    before = resident_bytes(switch)
    pings = framed(field(PING, field(1, 1))) * 100_000
    with connected(port) as peer:
        peer._socket.settimeout(2)
        sent = 0
        try:
            while sent < 64 * MIB:
                peer.say(pings)
                sent += len(pings)
        except TimeoutError:
            pass
        assert sent < 64 * MIB, "everything was read, and nobody reads the answers"
        assert resident_bytes(switch) - before < 16 * MIB
        assert switch.rpc.call("version")


def test_endpoint_named_twice_in_an_offer_leaks_no_port(place):
    switch, port, _ = place
    ports = len(switch.data("show port summary all")["ports"])
    document = switch.rpc.call("migration.export", vm="vm1")
    document["vm"] = "vm9"
    profile = document["profiles"][0] | {"name": "vm9/net0", "macs": [], "ipv4s": []}
    document["profiles"] = [profile, profile]
    with connected(port) as peer:
        peer.say(offer(document, "01d01d", (1, "host-a")))
        assert b"vm9/net0 is in the offer twice" in peer.hear()[REFUSED][0]
    assert len(switch.data("show port summary all")["ports"]) == ports
