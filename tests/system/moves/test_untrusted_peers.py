# SPDX-License-Identifier: Apache-2.0
"""What a peer with a valid certificate may not do: nothing changes outside its own moves."""
import pytest
from front_end_guests import wait_for
from peer_client import (
    ABORT,
    ASK,
    DONE,
    HANDOVER,
    HELLO,
    PING,
    PONG,
    PREPARED,
    PULL,
    REFUSED,
    REVOKE,
    UNKNOWN,
    PeerClient,
    field,
    framed,
    hello,
    message,
    offer,
)


def answer(pair, identities, peer, host, request):
    """Returns what `host` answers to one message of a peer with a valid certificate."""
    with PeerClient(pair.ports[host], identities[peer]) as client:
        client.say(hello(peer))
        assert HELLO in client.hear()
        client.say(request)
        return client.hear()


def picture(switch):
    """Returns all that a peer must not change: endpoints, moves, and the policy of vm7."""
    endpoints = switch.rpc.call("show.endpoints")["endpoints"]
    moves = switch.rpc.call("migrate.status")["moves"]
    vm = {}
    if any(e["name"] == "vm7/net0" and e["location"].startswith("port") for e in endpoints):
        vm = switch.rpc.call("migration.export", vm="vm7")
    return endpoints, [(move["id"], move["state"]) for move in moves], vm


@pytest.mark.parametrize("kind", [ASK, REVOKE, HANDOVER, ABORT, DONE])
@pytest.mark.parametrize("vm", ["vm7", "made-up"])
@pytest.mark.parametrize("counter", [1, 9, 2**62])
def test_message_about_unknown_move_is_answered_unknown(pair, identities, kind, vm, counter):
    """No ring of vm7 runs, as in a reboot, so a claim by a newer epoch would take it."""
    before = picture(pair.a)
    request = message(vm, "0badcafe", kind, at=(counter, "host-b"))
    assert UNKNOWN in answer(pair, identities, "host-b", "host-a", request)
    assert picture(pair.a) == before


def test_pull_needs_allow_pull_and_running_rings(pair, identities):
    before = picture(pair.a)
    request = message("vm7", "0badcafe", PULL)
    refused = answer(pair, identities, "host-c", "host-a", request)[REFUSED][0]
    assert b"host-c may not pull VMs from host-a (migration.allow_pull)" in refused
    refused = answer(pair, identities, "host-b", "host-a", request)[REFUSED][0]
    assert b"vm7 does not run at host-a" in refused
    assert picture(pair.a) == before


@pytest.mark.parametrize("kind", [REVOKE, HANDOVER, ABORT, DONE])
def test_message_of_another_peer_about_a_move_is_answered_unknown(pair, identities, kind):
    document = pair.a.rpc.call("migration.export", vm="vm7")
    move = f"ab{kind:02}"
    with PeerClient(pair.ports["host-b"], identities["host-a"]) as source:
        source.say(hello("host-a"))
        source.hear()
        source.say(offer(document, move, (1, "host-a")))
        assert PREPARED in source.hear()
        before = picture(pair.b)
        request = message("vm7", move, kind, at=(2, "host-c"))
        assert UNKNOWN in answer(pair, identities, "host-c", "host-b", request)
        assert picture(pair.b) == before
        source.say(framed(field(PING, field(1, 7))))
        assert PONG in source.hear(), "the rightful link was closed"
        source.say(message("vm7", move, ABORT, at=(2, "host-b")))
        wait_for(lambda: (move, "aborted") in picture(pair.b)[1], 5, "aborted by its own source")
