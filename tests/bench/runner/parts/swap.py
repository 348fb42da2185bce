# SPDX-License-Identifier: Apache-2.0
"""`scripts/bench swap`: replaces the whole policy of a VM with 10 to 100,000 rules, many times.

Commit-to-visible is measured in a program (swap_bench.cc) with the daemon's store, state and
pipeline and one worker. It lasts from before the publication until the worker has loaded the new
state, and until the first burst that shows it has left. The program also counts lost and torn
packets.

Lost and torn packets are counted again on a real daemon between guests. Each swap is
`migration.export`, `migration.rewrite` and `migration.import` on the control socket. Two rule sets
mark packets in each direction, by the TTL and by the UDP source port, with one rule each. A packet
is torn if it has one mark only, or one of each set.
"""

import json
import socket
import subprocess
import threading
import time

from .. import guests, measure, plot
from ..switches import CPU, background
from testbed.bed import TestbedError
from testbed.process import wait_until

SIZES = (10, 100, 1000, 10_000, 100_000)
# (TTL, source port) of packets from the VM, and of packets to it.
MARKS = {"A": ((11, 1111), (12, 1112)), "B": ((21, 2111), (22, 2112))}
_OUT, _IN = 1, 2
_PPS = 2000
_VMS = ("vm1", "vm2", "vm3")


def run(context):
    results = []
    for rules in SIZES:
        inside = in_program(context, rules)
        with context.scope() as bed:
            daemon = on_daemon(context, bed, rules)
        results.append({"rules": rules, "program": inside, "daemon": daemon})
        context.say(describe(results[-1]))
    return results


def in_program(context, rules):
    swaps = (
        {True: 15, False: 50}[rules > 10_000]
        if context.quick
        else {True: 100, False: 500}[rules > 10_000]
    )
    done = subprocess.run(
        [context.tool("swap_bench"), "--swaps", str(swaps), "--json", "-", str(rules)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    # With exit code 1 and figures, packets were lost or torn. The figures say so.
    try:
        return json.loads(done.stdout)["sizes"][0]
    except (ValueError, LookupError):
        raise TestbedError(
            f"swap_bench: exit code {done.returncode}: {done.stderr[-500:]}"
        ) from None


def policy(count, name):
    """Returns `count` rules of the VM: four that mark, and others that no packet here hits."""
    (ttl, port), (in_ttl, in_port) = MARKS[name]
    udp = "pattern eth / ipv4 / udp / end actions"
    to_peer = "represented_port ethdev_port_id vm2/net0"
    rules = [
        f"vm1/net0 ingress priority 10 {udp} set_ttl ttl_value {ttl} / passthru / end",
        f"vm1/net0 ingress priority 20 {udp} set_tp_src port {port} / {to_peer} / end",
        f"vm1/net0 egress priority 10 {udp} set_ttl ttl_value {in_ttl} / passthru / end",
        f"vm1/net0 egress priority 20 {udp} set_tp_src port {in_port} / end",
    ]
    shapes = (
        "eth / ipv4 dst is 10.200.{h}.{l} / tcp dst is {p}",
        "eth / ipv4 src is 10.201.{h}.{l} / tcp dst spec {p} dst last 65535 dst mask 65535",
        "eth / ipv4 src spec 10.202.{h}.0 src prefix 24 / tcp src is {p}",
        "eth / vlan vid is {v} / ipv4 dst is 10.203.{h}.{l}",
    )
    for n in range(count - len(rules)):
        pattern = shapes[n % 4].format(
            h=n >> 8 & 255, l=n & 255, p=5000 + n % 60000, v=1 + n % 4000
        )
        rules.append(
            f"vm1/net0 {'egress' if n % 3 == 0 else 'ingress'} priority {1 + n % 5} "
            f"pattern {pattern} / end actions drop / end"
        )
    return rules


class Control:
    """The control socket with the least work on this side: documents stay bytes."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(120)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb", 1 << 20)

    def call(self, method, params):
        self._socket.sendall(
            b'{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}\n' % (method.encode(), params)
        )
        answer = self._file.readline()
        if b'"error"' in answer[:200] and b'"result"' not in answer[:60]:
            raise TestbedError(f"{method}: {answer[:500]!r}")
        return answer

    def create_all(self, rules):
        """Creates rules in pipelined requests, as many at once as the socket buffers hold."""
        for start in range(0, len(rules), 200):
            part = rules[start : start + 200]
            self._socket.sendall(
                b"".join(
                    json.dumps(
                        {
                            "jsonrpc": "2.0",
                            "id": 1,
                            "method": "flow.create",
                            "params": {"text": text},
                        }
                    ).encode()
                    + b"\n"
                    for text in part
                )
            )
            for text in part:
                answer = self._file.readline()
                if b'"error"' in answer:
                    raise TestbedError(f"flow create {text}: {answer[:500]!r}")

    def document(self):
        """Returns the VM's exported document as (text before epoch, epoch, text after it)."""
        answer = self.call("migration.export", b'{"vm":"vm1"}')
        document = answer[answer.index(b'"result":') + len(b'"result":') : answer.rindex(b"}")]
        at = document.index(b'"epoch":{')
        end = document.index(b"}", at) + 1
        return document[:at], document[at:end], document[end:]

    def close(self):
        self._file.close()
        self._socket.close()


class Swapper(threading.Thread):
    """Swaps the VM's policy `count` times. Packets show each policy in the pause between swaps."""

    def __init__(self, control, port, documents, count):
        super().__init__()
        self._control, self._port, self._documents, self._count = control, port, documents, count
        self.milliseconds = {"export": [], "rewrite": [], "import": []}
        self.error = None

    def run(self):
        try:
            for n in range(self._count):
                _, epoch, _ = self._timed("export", self._control.document)
                self._timed(
                    "rewrite", lambda: self._control.call("migration.rewrite", b'{"vm":"vm1"}')
                )
                before, _, behind = self._documents["B" if n % 2 == 0 else "A"]
                request = b'{"bind":{"vm1/net0":{"port":%d}},"document":%s%s%s}' % (
                    self._port,
                    before,
                    epoch,
                    behind,
                )
                self._timed("import", lambda: self._control.call("migration.import", request))
                time.sleep(0.02)
        except (TestbedError, OSError) as error:
            self.error = error

    def _timed(self, name, work):
        began = time.monotonic()
        answer = work()
        self.milliseconds[name].append(1e3 * (time.monotonic() - began))
        return answer


class Watch:
    """Checks the packets of one stream that a guest receives: each must have the marks of one set.
    `place` is 0 for packets from the VM and 1 for packets to it."""

    def __init__(self, vms, guest, stream, place):
        self._vms, self._guest, self._stream = vms, guest, stream
        self._marks = {marks[place] for marks in MARKS.values()}
        self.numbers, self.seen, self.twice, self.torn = set(), set(), 0, 0

    def poll(self):
        for frame in self._vms.recv(self._guest, 4096, 0):
            stream, number, _ = guests.numbered(frame.data)
            if stream != self._stream:
                raise TestbedError(f"{self._guest} received a packet of stream {stream}")
            look = (frame.data[22], int.from_bytes(frame.data[34:36], "big"))
            self.twice += number in self.numbers
            self.torn += look not in self._marks
            self.numbers.add(number)
            self.seen.add(look)


def on_daemon(context, bed, rules):
    sockets = {vm: bed.path(vm) for vm in _VMS}
    config = {
        "workers": {"cpus": [CPU]},
        "uplinks": [{"name": "physnet1", "devargs": "net_null0,no-rx=1"}],
        "endpoints": [
            guests.endpoint(f"{vm}/net0", number, path)
            for number, (vm, path) in enumerate(sockets.items(), 1)
        ],
    }
    daemon = background(bed, context, "swap", config)
    control = Control(daemon.socket_path)
    bed.callback(control.close)
    with guests.frontend(context) as vms:
        for number, (vm, path) in enumerate(sockets.items(), 1):
            vms.open(vm, path=path, mac=guests.mac(number), size=1024)
        vms.wait("all", 20000)
        documents = prepare(control, daemon, rules)
        return swap(context, daemon, control, vms, documents, count_of(context, rules))


def prepare(control, daemon, rules):
    """Returns both documents with set A in force. Adds rules on the uplink that count packets that
    leave unchanged and others."""
    documents = {}
    for name in ("B", "A"):
        control.create_all(policy(rules, name))
        documents[name] = control.document()
        if name == "B":
            control.call("flow.flush", b'{"port":"vm1/net0"}')
    control.create_all(
        [
            "physnet1 egress priority 1 pattern eth / ipv4 ttl is 64 / udp src is 40000 / end "
            "actions count / end",
            "physnet1 egress priority 2 pattern eth / end actions count / end",
        ]
    )
    return documents


def count_of(context, rules):
    return (
        {True: 5, False: 20}[rules > 10_000]
        if context.quick
        else {True: 20, False: 200}[rules > 10_000]
    )


def swap(context, daemon, control, vms, documents, count):
    def port(name):
        return daemon.rpc.call("show.port.stats", port=name)["ports"][0]

    watches = [Watch(vms, "vm2", _OUT, 0), Watch(vms, "vm1", _IN, 1)]
    left_before = port("physnet1")["tx_packets"]
    swapper = Swapper(control, port("vm1/net0")["port"], documents, count)
    vms.stream(
        _OUT,
        source="vm1",
        dst=guests.mac(2),
        sip="10.0.0.1",
        dip="10.0.0.2",
        pps=_PPS,
        seconds=3600,
    )
    vms.stream(
        _IN, source="vm3", dst=guests.mac(1), sip="10.0.0.3", dip="10.0.0.1", pps=_PPS, seconds=3600
    )
    vms.run(100)
    swapper.start()
    while swapper.is_alive():
        vms.run(20)
        for watch in watches:
            watch.poll()
    swapper.join()
    if swapper.error is not None:
        raise swapper.error
    vms.run(200)
    sent = sum(stream["sent"] for stream in vms.stream_stop())

    def missing():
        for watch in watches:
            watch.poll()
        return (
            sent
            - sum(len(watch.numbers) for watch in watches)
            - (port("physnet1")["tx_packets"] - left_before)
        )

    try:
        wait_until(lambda: missing() == 0, 5, "packets are missing", 0.05)
    except TestbedError as error:
        context.say(f"{error}: {missing()}; drops {daemon.rpc.call('show.drops')['drops']}")
    for watch in watches:
        if len(watch.seen) < 2 and count > 1:
            raise TestbedError(f"packets showed only one of the two sets: {watch.seen}")
    touched = daemon.rpc.call("flow.query", text="physnet1 1 count")["packets"]
    return {
        "swaps": count,
        "sent": sent,
        "lost": missing(),
        "torn": sum(watch.torn for watch in watches) + touched,
        "twice": sum(watch.twice for watch in watches),
        "unpoliced": daemon.rpc.call("show.drops")["unpoliced_packets"],
        "milliseconds": {
            name: measure.median(values) for name, values in swapper.milliseconds.items()
        },
    }


# The figures for the goals.


def flatness(what):
    """Returns a function for a goal: the median time with the most rules divided by that with the
    fewest. `what` is "visible_us" for the first burst or "taken_us" for the load by a worker."""

    def figure(results):
        medians = {one["rules"]: one["program"]["import"][what]["p50"] for one in results}
        return medians[max(medians)] / medians[min(medians)] if len(medians) > 1 else None

    return figure


def total(field):
    return lambda results: sum(one["program"][field] + one["daemon"][field] for one in results)


def describe(result):
    inside, daemon = result["program"], result["daemon"]
    return (
        f"{result['rules']} rules: visible after {inside['import']['visible_us']['p50']:.1f} us; "
        f"lost {inside['lost']} of {inside['packets']}, on "
        f"the daemon {daemon['lost']} of {daemon['sent']}; torn {inside['torn']}, {daemon['torn']}"
    )


HEADINGS = (
    "rules",
    "publish us",
    "taken us",
    "visible us p50",
    "p99",
    "away us p50",
    "p99",
    "records us",
    "build us",
    "packets",
    "lost",
    "torn",
)
DAEMON_HEADINGS = (
    "rules",
    "swaps",
    "export ms",
    "rewrite ms",
    "import ms",
    "packets",
    "lost",
    "torn",
    "twice",
    "unpoliced",
)


def tables(results):
    inside, daemon = [], []
    for one in results:
        program, there = one["program"], one["daemon"]
        away, back = program["rewrite"], program["import"]
        inside.append(
            [
                one["rules"],
                back["publish_us"]["p50"],
                back["taken_us"]["p50"],
                back["visible_us"]["p50"],
                back["visible_us"]["p99"],
                away["visible_us"]["p50"],
                away["visible_us"]["p99"],
                back["finish_us"]["p50"],
                program["build_us"]["p50"],
                program["packets"],
                program["lost"],
                program["torn"],
            ]
        )
        daemon.append(
            [
                one["rules"],
                there["swaps"],
                *[there["milliseconds"][name] for name in ("export", "rewrite", "import")],
                there["sent"],
                there["lost"],
                there["torn"],
                there["twice"],
                there["unpoliced"],
            ]
        )
    return [
        ("swap: from commit to the first burst that shows it, in one program", HEADINGS, inside),
        (
            "swap: on the daemon, by export, rewrite and import on the control socket",
            DAEMON_HEADINGS,
            daemon,
        ),
    ]


def plots(results):
    def times(where, what, percentile):
        return [(one["rules"], one["program"][where][what][percentile]) for one in results]

    return [
        (
            "swap.svg",
            plot.chart(
                "Swapping a VM's policy: when packets see it",
                "rules of the VM",
                "microseconds",
                [
                    ("visible", times("import", "visible_us", "p50")),
                    ("visible, p99", times("import", "visible_us", "p99")),
                    ("taken up by a worker", times("import", "taken_us", "p50")),
                    ("the store", times("import", "publish_us", "p50")),
                    ("records after it", times("import", "finish_us", "p50")),
                    (
                        "built before it",
                        [(one["rules"], one["program"]["build_us"]["p50"]) for one in results],
                    ),
                ],
                log_y=True,
                note="from before the one store until the first burst of 32 that shows it is out",
            ),
        )
    ]
