#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The network between hosts for system tests: a `learning-switch`, with commands as methods.

    with Fabric(binary, folder, ["a", "b"], ["nc"]) as fabric:
        fabric.devargs("a")                 # for the uplink of host a; its memif is port 0
        fabric.guest_socket("nc")           # the socket of a guest's NIC at the fabric itself
        fabric.set(learn_ms=100, deaf=True) # omitted options get their defaults
        fabric.stats()["flooded"]
"""
import json
import os
import select
import subprocess
import time


class FabricError(RuntimeError):
    """The program refused a command or has ended."""


class Fabric:
    def __init__(self, binary, folder, hosts, guests=(), cpu=0, ring_bits=13, lifetime_s=3600):
        """`ring_bits` is log2 of the size of a memif ring. Hosts get the first port numbers."""
        self._folder, self._ring_bits = folder, ring_bits
        self.ports = {name: number for number, name in enumerate([*hosts, *guests])}
        ports = [
            f"net_memif{n},role=server,id={n},socket={folder}/fabric.sock,socket-abstract=no,"
            f"bsize=2048,rsize={ring_bits}"
            for n in range(len(hosts))
        ]
        ports += [
            f"net_vhost{n},iface={self.guest_socket(name)},client=1,tso=0,linear-buffer=1"
            for n, name in enumerate(guests)
        ]
        command = [
            str(binary),
            "--file-prefix",
            f"fabric-{os.getpid()}",
            "--cpu",
            str(cpu),
            "--lifetime",
            str(lifetime_s),
        ]
        for port in ports:
            command += ["--port", port]
        self._log = open(f"{folder}/fabric.log", "wb")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._unread = b""

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        self.set()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends it with SIGTERM, or SIGKILL after a timeout. Returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()
        return self._process.returncode

    def devargs(self, host):
        return (
            f"net_memif0,role=client,id={self.ports[host]},socket={self._folder}/fabric.sock,"
            f"socket-abstract=no,bsize=2048,rsize={self._ring_bits}"
        )

    def guest_socket(self, guest):
        return f"{self._folder}/{guest}.sock"

    def command(self, line, timeout_s=20):
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise FabricError(f"cannot write to learning-switch: {error}") from error
        end = time.monotonic() + timeout_s
        out = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([out], [], [], max(0.0, end - time.monotonic()))[0]:
                raise FabricError(f"no answer to {line!r} within {timeout_s} s")
            part = os.read(out, 1 << 16)
            if not part:
                raise FabricError(
                    f"learning-switch ended with {self._process.wait()}; {self._folder}/fabric.log "
                    "says why"
                )
            self._unread += part
        answer, self._unread = self._unread.split(b"\n", 1)
        reply = json.loads(answer)
        if not reply.pop("ok"):
            raise FabricError(f"{line}: {reply['error']}")
        return reply

    def set(self, **habits):
        """Options: learn_ms, age_ms, never_flood, deaf, latency_us, vlans (a list)."""
        words = [
            f"{key}={','.join(map(str, value)) if key == 'vlans' else int(value)}"
            for key, value in habits.items()
        ]
        self.command(" ".join(["set", *words]))

    def forget(self):
        self.command("forget")

    def where(self, mac, vlan=0):
        """Returns the name of the port of an address, or None if it is unknown."""
        number = self.command(f"where {mac} {vlan}")["port"]
        return (
            None if number < 0 else [name for name, port in self.ports.items() if port == number][0]
        )

    def stats(self):
        return self.command("stats")
