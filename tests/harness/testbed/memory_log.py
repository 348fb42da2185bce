# SPDX-License-Identifier: Apache-2.0
"""A vhost-user device that has a VM's whole memory sent once more when the VM has stopped to be moved.

Under TCG, QEMU before 9.0 loses writes of the guest while it is being moved: it takes pages from the bitmap of dirty ones
without telling the emulated CPU's TLB, which goes on writing to those that it knows as dirty already (QEMU's commit "physmem:
Fix migration dirty bitmap coherency with TCG memory access"). The busier the guest, the more: it goes on with memory of
some moments ago, sends what it has sent once more, or its kernel crashes. Debian 12 has 7.2.

So each VM of the testbed has one more NIC, with no packets. When its rings are stopped while memory is logged, it says of all
pages that it has written to them, before QEMU reads the log for the last time. That costs the time to send them.
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
    """The device's back-end, for one QEMU. It ends with QEMU's connection, or with the testbed."""

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
        """QEMU's, behind those of all other NICs, so that it is the guest's last."""
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
            pass  # QEMU has ended, or the testbed does
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
        """The reply's payload, or None."""
        if request == _GET_FEATURES:
            return struct.pack("<Q", _LOG_ALL | _PROTOCOL_FEATURES | _VERSION_1)
        if request == _GET_PROTOCOL_FEATURES:
            # Post-copy is refused by the switch, not for this device's sake.
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
