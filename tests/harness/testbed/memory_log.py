# SPDX-License-Identifier: Apache-2.0
"""A vhost-user device that makes QEMU send a VM's whole memory again when the VM stops for a move.

Under TCG, QEMU before 9.0 loses writes of the guest during a migration. It takes pages from the
dirty bitmap without a notice to the TLB of the emulated CPU, which continues to write to pages that
it considers dirty (QEMU's commit "physmem: Fix migration dirty bitmap coherency with TCG memory
access"). A busier guest loses more: it resumes with older memory, sends packets again, or its
kernel crashes. Debian 12 has QEMU 7.2.

Each VM of the testbed therefore has one more NIC, without packets. If its rings stop while memory
is logged, it marks all pages as written before QEMU reads the log for the last time. That costs the
time to send them.
"""

import mmap
import os
import socket
import struct
import threading

# Requests, features and their bits: QEMU's docs/interop/vhost-user.rst.
_GET_FEATURES, _SET_FEATURES, _SET_LOG_BASE, _GET_VRING_BASE = 1, 2, 6, 11
_GET_PROTOCOL_FEATURES = 15
_VERSION, _REPLY, _NEED_REPLY = 1, 1 << 2, 1 << 3
_LOG_ALL, _PROTOCOL_FEATURES, _VERSION_1 = 1 << 26, 1 << 30, 1 << 32
_LOG_SHMFD, _RARP, _REPLY_ACK, _PAGEFAULT = 1 << 1, 1 << 2, 1 << 3, 1 << 8
_HEADER = struct.Struct("<III")
_MAX_PAYLOAD = 4096
_MAX_FDS = 8


class MemoryLog:
    """The back-end of the device, for one QEMU. It ends with QEMU's connection or the testbed."""

    def __init__(self, bed, path):
        """Listens at `path`, before QEMU starts."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)
        self._connection = None
        self._log = None
        self._logging = False
        thread = threading.Thread(target=self._serve, name="memory-log", daemon=True)
        thread.start()
        bed.callback(self._stop, thread)

    @staticmethod
    def arguments(path):
        """Returns QEMU's arguments. They follow those of all other NICs, so it is the last NIC."""
        return [
            "-chardev",
            f"socket,id=memlog,path={path}",
            "-netdev",
            "vhost-user,id=memlog,chardev=memlog",
            "-device",
            "virtio-net-pci,netdev=memlog,mac=02:00:00:ff:ff:ff,vectors=0,romfile=",
        ]

    def _stop(self, thread):
        for one in (self._listener, self._connection):
            if one is not None:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        thread.join()

    def _serve(self):
        try:
            with self._listener:
                self._connection, _ = self._listener.accept()
            with self._connection:
                while self._answer_one():
                    pass
        except OSError:
            pass  # QEMU or the testbed has ended.
        self._forget_log()

    def _answer_one(self):
        data, fds, _, _ = socket.recv_fds(self._connection, _HEADER.size, _MAX_FDS)
        try:
            if len(data) != _HEADER.size:
                return False
            request, flags, size = _HEADER.unpack(data)
            if size > _MAX_PAYLOAD:
                return False
            payload = self._connection.recv(size, socket.MSG_WAITALL) if size else b""
            reply = self._handle(request, payload, fds)
        finally:
            for fd in fds:
                os.close(fd)
        if reply is None and flags & _NEED_REPLY:
            reply = struct.pack("<Q", 0)
        if reply is not None:
            self._connection.sendall(_HEADER.pack(request, _VERSION | _REPLY, len(reply)) + reply)
        return True

    def _handle(self, request, payload, fds):
        """Handles a request. Returns the payload of the reply, or None."""
        if request == _GET_FEATURES:
            return struct.pack("<Q", _LOG_ALL | _PROTOCOL_FEATURES | _VERSION_1)
        if request == _GET_PROTOCOL_FEATURES:
            # The switch must be the one that refuses post-copy, not this device.
            return struct.pack("<Q", _LOG_SHMFD | _RARP | _REPLY_ACK | _PAGEFAULT)
        if request == _SET_FEATURES:
            self._logging = bool(struct.unpack("<Q", payload)[0] & _LOG_ALL)
        elif request == _SET_LOG_BASE:
            size, offset = struct.unpack("<QQ", payload)
            self._forget_log()
            self._log = mmap.mmap(fds[0], size, offset=offset)
            return struct.pack("<Q", 0)
        elif request == _GET_VRING_BASE:
            if self._logging and self._log is not None:
                self._log[:] = b"\xff" * len(self._log)
            index, _ = struct.unpack("<II", payload)
            return struct.pack("<II", index, 0)
        return None

    def _forget_log(self):
        if self._log is not None:
            self._log.close()
        self._log = None
