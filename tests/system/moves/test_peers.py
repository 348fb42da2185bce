# SPDX-License-Identifier: Apache-2.0
"""Peers over TLS: which are accepted, and which are refused.

Other connections can neither stop a peer nor slow a worker. Two daemons have certificates of one
authority. The other connections come from peer_client, which can send messages that no switch
sends. Each refusal must be in the log with the address of the connection.
"""
import itertools
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from certificates import Authority
from switch import BUILD
from peer_client import (
    ABORT,
    HELLO,
    PING,
    PONG,
    REFUSED,
    UNKNOWN,
    PeerClient,
    field,
    framed,
    hello,
    message,
    offer,
)
from front_end_guests import mac, wait_for
from move_hosts import NUMBERS, free_port, hosts, run_moves, traffic
from testbed.daemon import RpcError


def works(pair):
    """Returns the round trips of a ping, which fails if host-b cannot reach its peer host-a."""
    return pair.b.rpc.call("peer.ping", host="host-a")["round_trips_us"]


REFUSED_CERTIFICATES = {
    # (certificate files or None, host name in the hello, reason in the log)
    "no certificate": (lambda own, other: None, "host-b", "peer did not return a certificate"),
    "wrong authority": (
        lambda own, other: other.issue("host-b"),
        "host-b",
        "unable to get local issuer certificate",
    ),
    "expired": (
        lambda own, other: own.issue("host-b", days=(-3, -1), into="expired"),
        "host-b",
        "certificate has expired (CN = host-b",
    ),
    "not yet valid": (
        lambda own, other: own.issue("host-b", days=(1, 3), into="early"),
        "host-b",
        "certificate is not yet valid (CN = host-b",
    ),
    "no peer's name": (
        lambda own, other: own.issue("host-x"),
        "host-b",
        "is for host-x, not for one of this switch's peers",
    ),
    "another peer's name": (
        lambda own, other: own.issue("host-c", into="c2"),
        "host-b",
        "calls itself host-b, and its certificate (CN = host-c) is for host-c",
    ),
    "wildcard": (
        lambda own, other: own.issue("host-w", names="DNS:*.example,DNS:host-*"),
        "host-b",
        "not for one of this switch's peers",
    ),
    "name in the subject only": (
        lambda own, other: own.issue("host-b", names="DNS:elsewhere", into="cn"),
        "host-b",
        "is for elsewhere, not for",
    ),
}


@pytest.mark.parametrize("case", REFUSED_CERTIFICATES)
def test_certificate_that_does_not_match_is_refused(pair, authority, folder, case):
    make, claims, reason = REFUSED_CERTIFICATES[case]
    files = make(authority, Authority(folder / "other", "Another CA"))
    with PeerClient(pair.ports["host-a"], files) as client:
        try:
            client.say(hello(claims))
        except (OSError, EOFError):
            pass  # the switch may close the connection before the hello is sent
        print(f"{case}: the client receives: {client.end()}")
        pair.refused(client, reason)
    assert works(pair)


def test_peer_not_allowed_to_move_may_only_ping(pair, identities):
    document = pair.a.rpc.call("migration.export", vm="vm7")
    with PeerClient(pair.ports["host-b"], identities["host-c"]) as client:
        client.say(hello("host-c"))
        assert HELLO in client.hear()
        client.say(framed(field(PING, field(1, 1))))
        assert PONG in client.hear()
        client.say(offer(document, "c0ffee", (1, "host-c")))
        answer = client.hear()
        assert b"takes no VMs from host-c (migration.allow_in)" in answer[REFUSED][0]
    wait_for(lambda: "move c0ffee of vm7 from host-c is refused" in pair.b.log(), 5, "logged")
    assert not any(move["id"] == "c0ffee" for move in pair.b.rpc.call("migrate.status")["moves"])
    refused = pair.b.refused("migrate pull vm7 host-c")
    assert "allow_in" in refused.data["expected"]


def test_recorded_session_replayed_is_refused(pair, identities):
    document = pair.a.rpc.call("migration.export", vm="vm7")
    with PeerClient(pair.ports["host-b"], identities["host-a"]) as client:
        client.say(hello("host-a"))
        client.hear()
        client.say(offer(document, "feed01", (1, "host-a")))
        client.hear()
        recorded = client.sent
    wait_for(
        lambda: pair.b.rpc.call("migrate.status")["moves"][-1]["id"] == "feed01",
        5,
        "the offer has arrived",
    )
    moves = len(pair.b.rpc.call("migrate.status")["moves"])
    for cut in (len(recorded), len(recorded) // 2):
        with PeerClient(pair.ports["host-b"], tls=False) as thief:
            thief.raw(recorded[:cut])
            print(f"replayed {cut} of {len(recorded)} bytes: {thief.end()}")
            pair.refused(thief, "TLS: ", "host-b")
    assert len(pair.b.rpc.call("migrate.status")["moves"]) == moves, "host-b has a new move"
    # The offer's own session is gone, so host-b asks the real host-a, which does not know the move.
    wait_for(
        lambda: pair.b.rpc.call("migrate.status")["moves"][-1]["state"] == "aborted", 10, "given up"
    )


def test_malformed_bytes_before_handshake_are_refused(pair):
    port = pair.ports["host-a"]
    for rubbish, reason in (
        (b"GET / HTTP/1.0\r\n\r\n", "http request"),
        (bytes(200), "TLS: "),
        (b"\xa5" * 3000, "TLS: "),
        (hello("host-b"), "TLS: "),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "TLS: "),
    ):
        with PeerClient(port, tls=False) as client:
            client.raw(rubbish)
            client.end()
            pair.refused(client, reason)
    flood = b"".join(
        b"\x16\x03\x01\x40\x00" + (b"\x01\x01\xfb\xd0" + bytes(16380) if i == 0 else bytes(16384))
        for i in range(8)
    )
    with PeerClient(port, tls=False) as client:
        client.raw(flood)
        client.end()
        pair.refused(client, "more than 65536 bytes of handshake")
    with PeerClient(port, tls=False) as client:
        client.end()
        pair.refused(client, "no handshake within 3000 ms")
    assert works(pair)


def test_malformed_bytes_after_handshake_are_refused(pair, identities):
    port, me = pair.ports["host-a"], identities["host-b"]

    def after_handshake(*parts, reason, raw=False):
        with PeerClient(port, me) as peer:
            peer.shake()
            for part in parts:
                peer.raw(part) if raw else peer.say(part)
            peer.end()
            pair.refused(peer, reason)

    after_handshake(reason="no hello within 3000 ms")
    after_handshake(b"\xff" * 600, reason="a message of 4294967295 bytes, at most 256")
    after_handshake(bytes(4), reason="a message of 0 bytes")
    after_handshake(hello("host-b", magic=1), reason="not a Godwit switch")
    after_handshake(
        hello("host-b", 7, 9), reason="host-b speaks versions 7 to 9, this switch 1 to 3"
    )
    after_handshake(message("vm7", "1", ABORT), reason="spoke before its hello")
    after_handshake(hello("host-b"), hello("host-b"), reason="a second hello")
    after_handshake(
        hello("host-b"), b"\xff" * 100, reason="a message of 4294967295 bytes, at most 67108864"
    )
    after_handshake(hello("host-b"), framed(b"\xff" * 30), reason="not a message of this protocol")
    after_handshake(
        hello("host-b"),
        reason="(host-b) ended: host-b sent nothing of use within 3000 ms",
    )
    after_handshake(
        b"\x17\x03\x03\x00\x20" + bytes(32), reason="TLS: ", raw=True
    )  # a record without authentication
    after_handshake(
        b"\x17\x03\x03\xff\xff" + bytes(65535), reason="TLS: ", raw=True
    )  # longer than the limit of a record
    with PeerClient(port, me) as peer:  # a record with one flipped bit
        peer.say(hello("host-b"))
        peer.hear()
        record = bytearray(peer.encrypt(message("vm7", "1", ABORT)))
        record[-1] ^= 1
        peer.raw(bytes(record))
        peer.end()
        pair.refused(peer, "TLS: ")
    with PeerClient(port, me) as peer:  # half of a message
        peer.say(hello("host-b"))
        peer.hear()
        peer.say(message("vm7", "1", ABORT)[:9])
    with PeerClient(port, me) as peer:  # half of a record
        peer.say(hello("host-b"))
        peer.hear()
        peer.raw(peer.encrypt(message("vm7", "1", ABORT))[:20])
    assert works(pair)


def test_peer_with_another_hosts_name_gets_no_reply(pair, identities, authority):
    """Our side connects and detects the wrong host before it sends its hello."""
    with socket.create_server(("127.0.0.1", pair.ports["host-c"])) as server:
        server.settimeout(10)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = identities["host-b"]
        context.load_cert_chain(files["certificate"], files["key"])
        heard = []

        def serve():
            connection, _ = server.accept()
            with connection, context.wrap_socket(connection, server_side=True) as session:
                session.settimeout(5)
                try:
                    heard.append(session.recv(1000))
                except OSError:
                    heard.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(RpcError, match="is for host-b, not for the host that is configured at"):
            pair.a.rpc.call("peer.ping", host="host-c")
        thread.join()
        assert heard == [b""]
    with pytest.raises(RpcError, match="cannot connect to host-c"):
        pair.a.rpc.call("peer.ping", host="host-c")


def test_peer_list_and_ping_show_state_of_peers(pair):
    text = pair.a.text("peer ping host-b count 20")
    print(text)
    assert (
        "TLSv1.3 TLS_" in text
        and "Certificate: CN = host-b, issued by CN = Godwit test CA, valid to 20" in text
    )
    assert (
        "version 3; the peer speaks 1 to 3, this switch 1 to 3" in text
        and "VMs may move in: yes, out: yes" in text
        and "20 pings" in text
    )
    cli = subprocess.run(
        [
            BUILD / "control" / "cli" / "godwit",
            "--socket",
            pair.a.socket_path,
            "--json",
            "peer",
            "ping",
            "host-b",
            "count",
            "3",
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    data = json.loads(cli.stdout)
    assert (
        cli.returncode == 0
        and len(data["round_trips_us"]) == 3
        and data["certificate"]["names"] == ["host-b"]
    )
    assert pair.a.refused("peer ping host-z").data["token"] == "host-z"
    assert pair.a.refused("peer ping host-b count 101").data["column"] == 24
    assert pair.a.refused("peer ping host-b often").data["expected"] == "count N"
    peers = {peer["host"]: peer for peer in pair.a.data("peer list")["peers"]}
    assert (peers["host-c"]["may_move_in"], peers["host-c"]["may_move_out"]) == (False, True)
    words = [one["word"] for one in pair.a.rpc.call("complete", line="peer ping ho")["candidates"]]
    assert words == ["host-b", "host-c"]


def test_older_epoch_is_refused_and_logged(pair, identities):
    document = pair.a.rpc.call("migration.export", vm="vm7")
    pair.a.rpc.call("migration.rewrite", vm="vm7")
    pair.b.rpc.call("migration.import", document=document)
    known = pair.b.rpc.call("migration.export", vm="vm7")["epoch"]
    pair.b.rpc.call("migration.rewrite", vm="vm7")
    with PeerClient(pair.ports["host-b"], identities["host-a"]) as peer:
        peer.say(hello("host-a"))
        peer.hear()
        peer.say(offer(document, "01d01d", (0, "host-a")))
        assert (
            f"epoch (0, host-a) is older than ({known['counter']}, {known['host']})".encode()
            in peer.hear()[REFUSED][0]
        )
    with PeerClient(pair.ports["host-b"], identities["host-a"]) as peer:
        peer.say(hello("host-a"))
        peer.hear()
        peer.say(message("vm7", "01d01e", ABORT, at=(0, "host-a")))
        assert UNKNOWN in peer.hear()
        wait_for(
            lambda: "host-a names a move that is not known here: 01d01e of vm7" in pair.b.log(),
            5,
            "named in the log",
        )


def test_config_check_locates_bad_certificate(godwitd, authority, identities, folder):
    good = authority.issue("host-t")
    cases = {
        "good": (good, 0, ""),
        "not there": (
            good | {"certificate": "/nowhere.crt"},
            1,
            "c.yaml:3:23: /nowhere.crt: cannot be read: No such file",
        ),
        "another's": (
            identities["host-a"],
            1,
            "the certificate is for host-a, and this host is host-t, expected DNS:host-t in its "
            "subjectAltName",
        ),
        "another's key": (good | {"key": identities["host-a"]["key"]}, 1, "c.yaml:4:13: "),
        "expired": (
            authority.issue("host-t", days=(-3, -1), into="told"),
            1,
            "the certificate expired on 20",
        ),
        "early": (
            authority.issue("host-t", days=(1, 3), into="tearly"),
            1,
            "the certificate is not valid before 20",
        ),
        "no authority": (good | {"ca": good["key"]}, 1, "c.yaml:5:12: "),
    }
    for case, (files, code, says) in cases.items():
        lines = [
            "host: host-t",
            'migration: {listen: "10.0.0.1:7400", tls: {',
            f"       certificate: \"{files['certificate']}\",",
            f"       key: \"{files['key']}\",",
            f"       ca: \"{files['ca']}\"}}}}",
        ]
        lines[2] = lines[2].replace("       certificate", "         certificate")
        (folder / "c.yaml").write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [godwitd, "--config", folder / "c.yaml", "--check"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        print(f"{case}: {done.returncode} {done.stderr.strip()}")
        assert done.returncode == code and says in done.stderr, case


def test_sighup_reloads_certificates_and_keeps_old_ones_on_error(make_switch, authority, folder):
    files = {host: authority.issue(host, into=f"hup-{host}") for host in ("host-p", "host-q")}
    ports = {"host-p": free_port(), "host-q": free_port()}
    p, q = (
        make_switch(
            host,
            migration={
                "listen": f"127.0.0.1:{ports[host]}",
                "tls": files[host],
                "peers": {other: f"127.0.0.1:{ports[other]}"},
            },
        ).start()
        for host, other in (("host-p", "host-q"), ("host-q", "host-p"))
    )
    p.may_log_errors = True

    def expiry():
        return q.rpc.call("peer.ping", host="host-p")["certificate"]["not_after_unix_s"]

    before = expiry()
    authority.issue("host-p", days=(0, 9), into="hup-host-p")
    assert expiry() == before, "the certificate changed before SIGHUP"
    p.process.send_signal(1)
    wait_for(lambda: expiry() > before, 5, "the new certificate")
    renewed = expiry()
    Path(files["host-p"]["certificate"]).write_text("rubbish")
    p.process.send_signal(1)
    wait_for(lambda: "certificates from before stay in use" in p.log(), 5, "line in the log")
    assert f"{files['host-p']['certificate']}: no start line" in p.log()
    assert expiry() == renewed
    authority.issue("host-p", days=(-3, -1), into="hup-host-p")
    p.process.send_signal(1)
    wait_for(lambda: "the certificate expired on" in p.log(), 5, "line in the log")
    with pytest.raises(RpcError, match="certificate has expired"):
        expiry()
    assert p.rpc.call("version"), "the switch stopped working"


IDLE = 1000
RATE_PPS = 40000
STREAMS = itertools.count(700)


@pytest.fixture(scope="module")
def net(godwitd, identities):
    with hosts(
        godwitd,
        migration=lambda name: {"tls": identities[f"host-{name}"], "handshake_timeout_ms": 3000},
    ) as made:
        yield made


def idle_connections(port, count):
    out = []
    for _ in range(count):
        out.append(socket.create_connection(("127.0.0.1", port), timeout=10))
    return out


def attack(port, identities, stop, counts):
    """Attacks the port without a pause until `stop` is set. Adds its attempts to `counts`."""
    while not stop.is_set():
        for files in (None, identities["host-c"], identities["host-b"]):
            try:
                with PeerClient(port, files, timeout_s=5) as client:
                    client.say(hello("host-x"))
                    client.say(b"\xff" * 100)
                    client.end()
            except (OSError, EOFError):
                pass
            counts["handshakes"] += 1
        for rubbish in (b"\xa5" * 1000, b"\x16\x03\x01\x40\x00" + bytes(16384)):
            try:
                with PeerClient(port, tls=False, timeout_s=5) as client:
                    client.raw(rubbish)
            except OSError:
                pass
            counts["rubbish"] += 1


def rate(net, ms=2000):
    """Returns the rate at which vm receives na's RATE_PPS packets through host-a, and the loss."""
    stream = next(STREAMS)  # a sink counts lower numbers of a known stream as duplicates
    net.vms.stats("vm-a", reset=True)
    net.vms.stream(stream, source="na", dst=mac(NUMBERS["vm"]), pps=RATE_PPS, seconds=60)
    began = time.monotonic()
    net.vms.run(ms)
    sent = {one["id"]: one["sent"] for one in net.vms.stream_stop()}[stream]
    seconds = time.monotonic() - began
    net.vms.sink_wait("vm-a", stream, sent, 2000)
    account = net.vms.stats("vm-a")["streams"][str(stream)]
    return account["received"] / seconds, sent - account["received"]


def test_vm_moves_over_tls_without_loss(net):
    seen = []

    def look(_, __):
        seen.append(net.switches["a"].rpc.call("peer.ping", host="host-b")["tls"])

    outcome = run_moves(net, "vm", traffic(pps=4000), moves=4, each=look)
    print(outcome)
    assert outcome.wrong() == [], outcome
    assert all(cipher.startswith("TLSv1.3") for cipher in seen) and len(seen) == 4
    assert net.unpoliced() == 0


def test_idle_connections_do_not_block_or_slow_peers(net, identities):
    assert net.place["vm"] == "a"
    before, lost_before = rate(net)
    port = net._ports["a"]
    idle = idle_connections(port, IDLE)
    try:
        time.sleep(0.6)
        trips = [
            net.switches["b"].rpc.call("peer.ping", host="host-a")["connect_us"] for _ in range(10)
        ]
        stop, counts = threading.Event(), {"handshakes": 0, "rubbish": 0}
        thread = threading.Thread(target=attack, args=(port, identities, stop, counts))
        thread.start()
        during, lost_during = rate(net)
        stop.set()
        thread.join()
        outcome = run_moves(net, "vm", traffic(pps=2000), moves=2)
    finally:
        for one in idle:
            one.close()
    print(
        f"{IDLE} idle connections, {counts['handshakes']} handshakes and {counts['rubbish']} times "
        f"rubbish: {before:.0f} packets a second before, "
        f"{during:.0f} during, ratio {during / before:.3f}; lost {lost_before} before, "
        f"{lost_during} during; a peer gets in within {max(trips)} us"
    )
    assert outcome.wrong() == [], outcome
    assert during > 0.7 * before
    log = net.switches["a"].log()
    assert "no handshake within 3000 ms" in log or "in no move after" in log
    assert "lines like the following were left out" in log or log.count("is refused") < 200
