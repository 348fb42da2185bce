# SPDX-License-Identifier: Apache-2.0
"""A hand-written peer for tests, which can send messages that no switch sends.

It uses Python's ssl module for TLS and builds messages byte by byte.

    with PeerClient(port, files) as peer:        # files None: no certificate; tls=False: plain text
        peer.say(hello("host-a"))
        assert peer.hear()[10]                   # fields of the Envelope by number; of wire.proto
"""
import socket
import ssl
import struct

MAGIC = 0x47445754
HELLO, OFFER, PREPARED, REFUSED, HANDOVER, REVOKE, ABORT, DONE = 10, 11, 12, 13, 15, 17, 19, 23
PULL, ASK, PING, PONG, UNKNOWN = 25, 27, 28, 29, 30


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value):
    """Encodes an integer, bytes or text as a protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """Decodes a message. Returns {field number: list of values}."""
    out, at = {}, 0

    def take():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(data):
        tag = take()
        size = {0: None, 1: 8, 5: 4}.get(tag & 7, -1)
        if size is None:
            value = take()
        else:
            if size < 0:
                size = take()
            value, at = data[at : at + size], at + size
        out.setdefault(tag >> 3, []).append(value)
    return out


def framed(envelope):
    return struct.pack("!I", len(envelope)) + envelope


def hello(host, low=1, high=3, magic=MAGIC):
    return framed(
        field(
            HELLO,
            varint(1 << 3 | 5)
            + struct.pack("<I", magic)
            + field(2, low)
            + field(3, high)
            + field(4, host),
        )
    )


def epoch(counter, host):
    return field(1, counter) + field(2, host)


def message(vm, move, kind, body=b"", at=None):
    """Returns an Envelope with the epoch `at` = (counter, host)."""
    return framed(
        field(1, vm) + field(2, move) + (field(3, epoch(*at)) if at else b"") + field(kind, body)
    )


def offer(document, move, at):
    """Returns an offer of an exported document with another epoch."""
    body = field(1, at[1]) + field(2, epoch(*at))
    for profile in document["profiles"]:
        one = field(1, profile["name"])
        for mac in profile["macs"]:
            one += field(2, bytes.fromhex(mac.replace(":", "")))
        for number, family, key in ((3, socket.AF_INET, "ipv4s"), (4, socket.AF_INET6, "ipv6s")):
            for address in profile[key]:
                one += field(number, socket.inet_pton(family, address))
        for vlan in profile["vlans"]:
            one += field(5, vlan)
        one += field(6, profile["mtu"]) + field(7, profile["queues"])
        body += field(3, one)
    for number, rules in ((4, document["rules"]), (5, document["uplink_rules"])):
        for rule in rules:
            body += field(
                number, field(1, rule["owner"]) + field(2, rule["id"]) + field(3, rule["rule"])
            )
    for uplink in document["uplinks"]:
        body += field(6, uplink)
    body += field(7, document["digest"])
    return message(document["vm"], move, OFFER, body, at)


class PeerClient:
    def __init__(self, port, files=None, tls=True, timeout_s=10):
        self.sent = b""  # all bytes, as sent on the connection
        self._unread = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.address = "%s:%d" % self._socket.getsockname()
        self._tls = None
        if not tls:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if files is not None:
            context.load_cert_chain(files["certificate"], files["key"])
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def raw(self, data):
        self.sent += data
        self._socket.sendall(data)

    def _flush(self):
        if data := self._out.read():
            self.raw(data)

    def _fill(self):
        data = self._socket.recv(65536)
        if not data:
            raise EOFError(f"the switch closed the connection of {self.address}")
        self._in.write(data)

    def shake(self):
        while True:
            try:
                self._tls.do_handshake()
                return self._flush()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()

    def encrypt(self, data):
        """Returns the bytes that say() would send."""
        self._tls.write(data)
        return self._out.read()

    def say(self, data):
        if self._tls is None:
            return self.raw(data)
        if self._tls.version() is None or not self.sent:
            self.shake()
        self.raw(self.encrypt(data))

    def _read(self, size):
        while len(self._unread) < size:
            if self._tls is None:
                data = self._socket.recv(65536)
                if not data:
                    raise EOFError("the switch closed the connection")
                self._unread += data
                continue
            try:
                data = self._tls.read(65536)
                if not data:
                    raise EOFError("the switch closed the session")
                self._unread += data
            except ssl.SSLWantReadError:
                self._fill()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def hear(self):
        """Returns the fields of the next message."""
        return fields(self._read(struct.unpack("!I", self._read(4))[0]))

    def end(self):
        """Waits until the other side has closed the connection. Returns the reason."""
        try:
            while True:
                self.hear()
        except (EOFError, OSError) as error:  # ssl.SSLError is an OSError
            return str(error)
