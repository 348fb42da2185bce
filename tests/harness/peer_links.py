# SPDX-License-Identifier: Apache-2.0
"""The TCP connections between peers, which a test can cut and mend.

    with PeerLinks() as links:
        port = links.lead_to(7400)   # peers connect to this port
        links.cut()                  # connections end, and new ones are refused
        links.mend()
"""
import contextlib
import selectors
import socket
import threading

CHUNK = 65536


class PeerLinks:
    """Forwards connections. One thread serves all of them."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._targets = {}  # listening socket -> port
        self._other = {}  # each end of a connection -> the end that it is forwarded to
        self._cut = self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended = True
        self._thread.join()
        for end in [*self._targets, *self._other]:
            end.close()
        self._selector.close()

    def lead_to(self, port):
        """Returns a port whose connections are forwarded to `port` of this machine."""
        listener = socket.create_server(("127.0.0.1", 0))
        with self._lock:
            self._targets[listener] = port
            self._selector.register(listener, selectors.EVENT_READ)
        return listener.getsockname()[1]

    def cut(self):
        """Ends all connections. New ones are closed at once."""
        with self._lock:
            self._cut = True
            for end in list(self._other):
                self._end(end)

    def mend(self):
        """Accepts connections again."""
        with self._lock:
            self._cut = False

    def _serve(self):
        while not self._ended:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj in self._targets:
                        self._accept(key.fileobj)
                    elif key.fileobj in self._other:
                        self._forward(key.fileobj)

    def _accept(self, listener):
        near, _ = listener.accept()
        if self._cut:
            return near.close()
        try:
            far = socket.create_connection(("127.0.0.1", self._targets[listener]))
        except OSError:
            return near.close()
        for one, other in ((near, far), (far, near)):
            self._other[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, end):
        try:
            data = end.recv(CHUNK)
            self._other[end].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(end)

    def _end(self, end):
        for one in (end, self._other.get(end)):
            if one is not None and self._other.pop(one, None) is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(one)
                one.close()
