# SPDX-License-Identifier: Apache-2.0
"""Two daemons that are peers over TLS, without a network between them, and their certificates."""
import shutil
import tempfile
from pathlib import Path

import pytest
from certificates import Authority
from front_end_guests import wait_for
from move_hosts import free_port
from switch import Switch


@pytest.fixture(scope="module")
def authority():
    folder = tempfile.mkdtemp(prefix="gw-ca-")
    yield Authority(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def identities(authority):
    return {host: authority.issue(host) for host in ("host-a", "host-b", "host-c")}


class Pair:
    """host-a and host-b without a network between them.

    host-c is a known peer that may receive VMs but not send them.
    """

    def __init__(self, godwitd, folder, identities):
        self.ports = {"host-a": free_port(), "host-b": free_port(), "host-c": free_port()}
        self.switches = {}
        for host, other in (("host-a", "host-b"), ("host-b", "host-a")):
            peers = {peer: f"127.0.0.1:{self.ports[peer]}" for peer in (other, "host-c")}
            migration = {
                "listen": f"127.0.0.1:{self.ports[host]}",
                "tls": identities[host],
                "peers": peers,
                "allow_in": [other],
                "allow_pull": [other],
                "handshake_timeout_ms": 3000,
                "vhost_template": f"{folder}/{{vm}}-{{nic}}-{host}.sock",
            }
            vm = {"name": "vm7/net0", "macs": ["02:00:00:00:00:07"]}
            if host == "host-a":
                vm["vhost"] = {"socket": f"{folder}/vm7-a.sock"}
            self.switches[host] = Switch(
                godwitd, folder, host, {"endpoints": [vm], "migration": migration}
            ).start()
        self.a, self.b = self.switches["host-a"], self.switches["host-b"]

    def refused(self, client, reason, host="host-a"):
        """Waits until the log says that this client was refused for `reason`."""

        def lines():
            return [
                line
                for line in self.switches[host].log().splitlines()
                if client.address in line and reason in line
            ]

        wait_for(
            lines,
            5,
            f"a line with {client.address} and `{reason}`; the log "
            f"ends:\n{self.switches[host].log()[-1500:]}",
        )


@pytest.fixture(scope="module")
def pair(godwitd, identities):
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    made = Pair.__new__(Pair)
    made.switches = {}
    try:
        made.__init__(godwitd, folder, identities)
        yield made
        for switch in made.switches.values():
            text, code = switch.log(), switch.stop()
            assert code == 0 and " error " not in text, text[-4000:]
    finally:
        for switch in made.switches.values():
            switch.stop()
        shutil.rmtree(folder)
