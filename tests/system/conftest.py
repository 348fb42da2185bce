# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests.

A daemon must end by SIGTERM with code 0 and without an error in its log, whatever the test did to
it; `make_switch` checks that.
"""
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).resolve().parents[1]
for room in ("harness", "builders", "tools"):
    sys.path.insert(0, str(TESTS / room))

from switch import BUILD, RULES, VM1, VM2, VM7, Switch  # noqa: E402


@pytest.fixture(scope="session")
def godwitd():
    binary = BUILD / "control" / "godwitd"
    if not binary.exists():
        pytest.fail(f"{binary} is not built")
    return binary


@pytest.fixture
def folder():
    # Short, so that sockets' paths fit.
    path = tempfile.mkdtemp(prefix="gw-")
    yield Path(path)
    shutil.rmtree(path)


@pytest.fixture
def make_switch(godwitd, folder):
    """Returns make_switch(name, **config), which returns a Switch that is not started."""
    made = []

    def make(name="host-t", **config):
        made.append(Switch(godwitd, folder, name, config))
        return made[-1]

    yield make
    for one in made:
        running = one.process is not None
        code = one.stop()
        if running:
            assert code == 0, f"{one.config_path.name}: exit code {code}:\n{one.log()}"
        if running:
            assert one.may_log_errors or " error " not in one.log(), f"in the log:\n{one.log()}"
            assert "buffers were lost" not in one.log(), f"in the log:\n{one.log()}"


@pytest.fixture
def switch(make_switch, folder):
    """A running daemon with two local VMs, one VM behind the uplink, and four rules."""
    endpoints = yaml.safe_load(yaml.safe_dump([VM1, VM2, VM7]).replace("{folder}", str(folder)))
    return make_switch(
        endpoints=endpoints,
        rules=RULES,
        migration={"vhost_template": f"{folder}/{{vm}}-{{nic}}.sock"},
    ).start()
