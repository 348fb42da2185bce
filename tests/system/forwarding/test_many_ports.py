# SPDX-License-Identifier: Apache-2.0
"""Several hundred vhost ports are added and removed under traffic.

Other ports lose nothing, each new port works, and nothing stays behind.
"""
import os
import struct
import time

import pytest
from front_end_guests import BYSTANDER_RING, mac, network, wait_for

PORTS = 300
GUESTS = {name: {"nic": {"size": BYSTANDER_RING}} for name in ("vm1", "vm2")}
ROUNDS = 2
STREAM = 1


def mac_of(number):
    return f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}"


def hello(number):
    """Returns a frame from guest `number` to the next one, which a rule of its own permits.

    It arrives only if the guest's port and its rules both work.
    """
    raw = bytes.fromhex((mac_of((number + 1) % PORTS) + mac_of(number)).replace(":", ""))
    return raw + struct.pack("!HI", 0x88B6, number) + bytes(40)


@pytest.fixture(scope="module")
def net(godwitd):
    with network(
        godwitd,
        GUESTS,
        memory={
            "hugepages": False,
            "socket_mb": 256,
            "file_prefix": f"godwit-many-{os.getpid()}",
            "mbufs": 16384,
        },
    ) as made:
        yield made


def descriptors(net):
    """Returns the number of the daemon's open descriptors by kind."""
    folder, kinds = f"/proc/{net.switch.process.pid}/fd", {}
    for name in os.listdir(folder):
        try:
            kind = os.readlink(f"{folder}/{name}").split(":")[0]
        except FileNotFoundError:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def pool(net):
    return sum(pool["available"] for pool in net.rpc.call("show.memory")["pools"])


def attach(net, number):
    """Adds a guest, its port, and a rule that sends its packets to the next guest."""
    name, path = f"many{number}", str(net.switch.folder / f"m{number}.sock")
    net.vms.open(name, path=path, mac=mac_of(number), size=64)
    net.rpc.call(
        "port.attach.vhost", name=f"{name}/net0", socket=path, macs=[mac_of(number)], vlans=[]
    )


def test_hundreds_of_ports_added_and_removed_under_traffic_lose_nothing(net):
    net.vms.sink(["vm1", "vm2"])
    net.vms.stream(STREAM, source="vm1", dst=mac(2), pps=2000, seconds=600)
    start, before = (descriptors(net), pool(net)), net.drops()
    names = [f"many{number}" for number in range(PORTS)]
    for round_number in range(ROUNDS):
        for number in range(PORTS):
            attach(net, number)
        net.vms.wait(names, 30000)
        assert len(net.rpc.call("show.port.summary", port="all")["ports"]) == PORTS + 3
        for number in range(PORTS):
            net.rpc.call(
                "flow.create",
                text=f"many{number}/net0 ingress pattern eth type is 0x88b6 / end actions count / "
                f"represented_port ethdev_port_id many{(number + 1) % PORTS}/net0 / end",
            )
        for number in range(PORTS):
            net.vms.send(f"many{number}", hello(number))
        for number in range(PORTS):
            got = net.vms.recv(f"many{(number + 1) % PORTS}", 1, 5000)
            assert [frame.data for frame in got] == [hello(number)]
        for number in range(PORTS):
            net.rpc.call("flow.flush", port=f"many{number}/net0")
        for number in range(PORTS):
            # Either the guest or its port is removed first. Both orders must succeed.
            if number % 2:
                net.vms.close(f"many{number}")
            net.rpc.call("port.detach", port=f"many{number}/net0")
            net.rpc.call("endpoint.del", name=f"many{number}/net0")
            if not number % 2:
                net.vms.close(f"many{number}")
        assert len(net.rpc.call("show.port.summary", port="all")["ports"]) == 3
        assert len(net.rpc.call("show.endpoints")["endpoints"]) == 3, f"round {round_number}"
    sent = net.vms.stream_stop(STREAM)[0]["sent"]
    wait_for(
        lambda: net.vms.stats("vm2")["streams"][str(STREAM)]["received"] == sent,
        5,
        "all packets of the stream",
    )
    account = net.vms.stats("vm2")["streams"][str(STREAM)]
    print(
        f"{sent} packets beside {ROUNDS * PORTS} ports that were added and removed; longest gap "
        f"{account['longest_gap_ns'] / 1e6:.1f} ms"
    )
    assert (account["lost"], account["duplicates"], account["corrupt"]) == (0, 0, 0)
    assert net.dropped_since(before) == {}
    assert net.unpoliced() == 0
    wait_for(
        lambda: pool(net) >= start[1] - 1024, 5, "buffers back in the pool"
    )  # the workers' caches hold some buffers
    end = time.monotonic() + 5
    while (now := descriptors(net)) != start[0] and time.monotonic() < end:
        time.sleep(0.05)
    assert now == start[0]
