# SPDX-License-Identifier: Apache-2.0
"""Real QEMU guests on vhost-user that boot, run the agent and live-migrate between hosts.

QEMU is the vhost-user server and the switch is the client, so QEMU waits at its start until the
switch has connected. Guests run under TCG with INTx (`vectors=0`), because Debian's QEMU 7.2
crashes with vhost-user, TCG and MSI-X together.
"""

import dataclasses
import os
import time

from .agent import Agent
from .bed import TestbedError
from .memory_log import MemoryLog
from .process import Process, wait_until
from .qmp import Qmp


@dataclasses.dataclass(frozen=True)
class GuestImage:
    """The kernel and initrd that scripts/setup prepares."""

    directory: str

    @property
    def kernel(self):
        return os.path.join(self.directory, "vmlinuz")

    @property
    def initrd(self):
        return os.path.join(self.directory, "initrd")

    @staticmethod
    def default():
        repository = os.path.dirname(os.path.abspath(__file__)).rsplit("/tests/", 1)[0]
        return GuestImage(
            os.environ.get("GODWIT_GUEST_DIR", os.path.join(repository, "build", "guest"))
        )


@dataclasses.dataclass(frozen=True)
class Nic:
    """One NIC of a VM. The agent configures the first (eth0)."""

    name: str = "net0"
    mac: str = "02:00:00:00:00:01"
    options: str = ""  # Further options of virtio-net-pci, such as "mrg_rxbuf=off"
    queues: int = 1


@dataclasses.dataclass(frozen=True)
class VmSpec:
    """The properties of a VM, independent of its host."""

    name: str
    ip: str  # 10.0.0.7; the prefix is /24
    nics: tuple = (Nic(),)
    ping: tuple = ()  # addresses
    rate: int = 100  # pings a second to each
    forbidden: tuple = ()  # probes, see tests/tools/guest/probes.h
    permitted: tuple = ()
    probe_rate: int = 50
    permitted_rate: int = 0  # Of the permitted ones. Zero for probe_rate.
    memory_mb: int = 80
    ipv6: bool = False
    accelerator: str = "tcg,tb-size=64"

    def kernel_command_line(self):
        words = [
            "console=ttyS0",
            "quiet",
            "loglevel=3",
            "panic=-1",
            "mitigations=off",
            f"godwit.ip={self.ip}/24",
            f"godwit.rate={self.rate}",
            f"godwit.probe_rate={self.probe_rate}",
        ]
        if self.permitted_rate:
            words.append(f"godwit.permitted_rate={self.permitted_rate}")
        if not self.ipv6:
            words.append("ipv6.disable=1")
        if self.ping:
            words.append("godwit.ping=" + ",".join(self.ping))
        if self.forbidden:
            words.append("godwit.forbidden=" + ";".join(self.forbidden))
        if self.permitted:
            words.append("godwit.permitted=" + ";".join(self.permitted))
        return " ".join(words)


@dataclasses.dataclass(frozen=True)
class MigrationReport:
    """QEMU's figures of a move.

    The VM's pause is the time between the events. The downtime of query-migrate ends earlier, when
    the source has sent everything and the destination has yet to load it.
    """

    pause_ms: float  # From event STOP of the source to RESUME of the destination.
    downtime_ms: float  # From query-migrate.
    total_ms: float
    transferred_bytes: int
    dirty_rounds: int


class Qemu:
    """One QEMU process: a VM on one host."""

    def __init__(self, bed, spec, host, image, sockets, incoming=None):
        """Starts QEMU.

        `sockets` has the vhost-user socket of each NIC. At the address `incoming`, QEMU waits for
        the VM's state.
        """
        self.host = host
        self.name = f"{spec.name}-{host.name}-{time.monotonic_ns() // 1000000}"
        self.console_path = bed.path(host.name, f"{self.name}.console")
        qmp_path = bed.path(host.name, f"{self.name}.qmp")
        arguments = self._arguments(spec, image, sockets, qmp_path)
        memory_log = bed.path(host.name, f"{self.name}.log.sock")
        MemoryLog(bed, memory_log)
        arguments += MemoryLog.arguments(memory_log)
        if incoming:
            arguments += ["-incoming", incoming]
        self.process = Process(bed, f"qemu-{self.name}", arguments, namespace=host.namespace)
        self.qmp = Qmp(qmp_path, self.process)
        wait_until(
            lambda: self.process.check_alive() or os.path.exists(qmp_path),
            10,
            f"{self.name} does not start",
        )

    def quit(self):
        self.qmp.close()
        return self.process.stop(5)

    def _arguments(self, spec, image, sockets, qmp_path):
        arguments = [
            "qemu-system-x86_64",
            "-name",
            spec.name,
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-vga",
            "none",
            "-accel",
            spec.accelerator,
            "-cpu",
            "qemu64",
            "-smp",
            "1",
            "-machine",
            "pc,memory-backend=mem",
            "-m",
            f"{spec.memory_mb}M",
            "-object",
            f"memory-backend-memfd,id=mem,size={spec.memory_mb}M,share=on",
            "-kernel",
            image.kernel,
            "-initrd",
            image.initrd,
            "-append",
            spec.kernel_command_line(),
            "-chardev",
            f"socket,id=console,path={self.console_path},server=on,wait=off",
            "-serial",
            "chardev:console",
            "-chardev",
            f"socket,id=qmp,path={qmp_path},server=on,wait=off",
            "-mon",
            "chardev=qmp,mode=control",
        ]
        for index, (nic, path) in enumerate(zip(spec.nics, sockets, strict=True)):
            device = (
                f"virtio-net-pci,netdev=net{index},mac={nic.mac},vectors=0,"
                "rx_queue_size=1024,romfile="
            )
            netdev = f"vhost-user,id=net{index},chardev=vhost{index}"
            if nic.queues > 1:
                netdev += f",queues={nic.queues}"
                device += ",mq=on"
            if nic.options:
                device += "," + nic.options
            arguments += [
                "-chardev",
                f"socket,id=vhost{index},path={path},server=on,wait=off",
                "-netdev",
                netdev,
                "-device",
                device,
            ]
        return arguments


class Vm:
    """A virtual machine, on any host."""

    _MIGRATION_PORT = 4700

    def __init__(self, bed, spec, image=None):
        self.spec = spec
        self.agent = None
        self.qemu = None
        self._bed = bed
        self._image = image or GuestImage.default()
        if not os.path.exists(self._image.initrd):
            raise TestbedError(
                f"no guest kernel and initrd in {self._image.directory}: run scripts/setup"
            )

    @property
    def host(self):
        return self.qemu.host

    def start(self, host, sockets):
        """Starts QEMU. It waits for the switch before the guest's first instruction."""
        self.qemu = Qemu(self._bed, self.spec, host, self._image, sockets)
        self.agent = Agent(self.spec.name, self._bed.path("logs", f"console-{self.spec.name}.log"))
        self._bed.callback(self.agent.close)
        self.agent.attach(self.qemu.console_path)

    def wait_for_switch(self, timeout_s=20.0):
        """Waits until the switch has connected to the NICs and the guest runs."""
        self.qemu.qmp.connect(timeout_s)

    def wait_for_agent(self, timeout_s=60.0):
        return self.agent.wait_for_report(
            lambda report: True, timeout_s, "no report; did the guest boot?"
        )

    def prepare_destination(self, host, sockets):
        """Starts the receiving QEMU, which waits for its switch. Returns it for migrate()."""
        return Qemu(
            self._bed,
            self.spec,
            host,
            self._image,
            sockets,
            incoming=f"tcp:{host.address}:{self._MIGRATION_PORT}",
        )

    def migrate(self, destination, timeout_s=60.0, downtime_limit_ms=300):
        """Live-migrates the VM to the QEMU from prepare_destination().

        Like libvirt, it ends the source's QEMU as soon as that reports the end of the migration.
        """
        source = self.qemu
        destination.qmp.connect(timeout_s)
        self.agent.attach(destination.console_path)
        source.qmp.execute(
            "migrate-set-parameters", downtime_limit=downtime_limit_ms, max_bandwidth=1 << 30
        )
        source.qmp.execute("migrate", uri=f"tcp:{destination.host.address}:{self._MIGRATION_PORT}")
        status = wait_until(
            lambda: self._migration_ended(source), timeout_s, f"{self.spec.name} does not move"
        )
        if status["status"] != "completed":
            raise TestbedError(
                f"QEMU: the migration of {self.spec.name} {status['status']}: "
                f"{status.get('error-desc', 'no reason given')}; log:\n{source.process.log_tail()}"
            )
        wait_until(
            lambda: destination.qmp.execute("query-status")["status"] == "running",
            10,
            f"{self.spec.name} does not run at {destination.host.name}",
        )
        resumed_s, stopped_s = destination.qmp.event_time_s("RESUME"), source.qmp.event_time_s(
            "STOP"
        )
        if resumed_s is None or stopped_s is None:
            raise TestbedError(
                f"QEMU: no event STOP or RESUME in the migration of {self.spec.name}"
            )
        status = source.qmp.execute(
            "query-migrate"
        )  # QEMU reports "completed" before it sets the downtime.
        self.qemu = destination
        source.quit()
        ram = status.get("ram", {})
        return MigrationReport(
            pause_ms=(resumed_s - stopped_s) * 1000,
            downtime_ms=float(status["downtime"]),
            total_ms=float(status["total-time"]),
            transferred_bytes=ram.get("transferred", 0),
            dirty_rounds=ram.get("dirty-sync-count", 0),
        )

    def cancel_migration(self, destination):
        """Cancels a migration in progress. The VM continues at the source."""
        self.qemu.qmp.execute("migrate_cancel")
        destination.quit()

    @staticmethod
    def _migration_ended(source):
        status = source.qmp.execute("query-migrate")
        return status if status.get("status") in ("completed", "failed", "cancelled") else None
