# SPDX-License-Identifier: Apache-2.0
"""check-tidy reads the findings of clang-tidy, here a stand-in that prints what a test wants."""
import importlib.machinery
import importlib.util

import pytest
from build_directory import REPO

LOADER = importlib.machinery.SourceFileLoader("check_tidy", str(REPO / "scripts" / "check-tidy"))
SPEC = importlib.util.spec_from_loader("check_tidy", LOADER)
check_tidy = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(check_tidy)


@pytest.fixture
def findings(tmp_path, monkeypatch):
    """Returns a function: the findings for a given output and exit code of clang-tidy."""

    def run(output, code):
        (tmp_path / "output").write_text(output)
        program = tmp_path / "clang-tidy"
        program.write_text(f"#!/bin/bash\ncat {tmp_path}/output\necho trouble >&2\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return check_tidy.findings(REPO / "build" / "test", "base/net.cc")

    return run


def test_file_without_finding_has_none(findings):
    assert findings("", 0) == []


def test_finding_is_reported_with_path_from_the_root(findings):
    line = "../../base/net.cc:3:5: error: odd [bugprone-odd,-warnings-as-errors]\n  code\n  ^\n"
    assert findings(line, 1) == ["base/net.cc:3:5: odd [bugprone-odd,-warnings-as-errors]"]


def test_warning_of_clang_is_not_a_finding(findings):
    line = f"{REPO}/base/net.cc:3:5: warning: shadows [clang-diagnostic-shadow]\n"
    assert findings(line, 0) == []


def test_file_that_does_not_compile_is_a_finding(findings):
    line = f"{REPO}/base/net.cc:3:5: error: unknown [clang-diagnostic-error]\n"
    assert findings(line, 1) == ["base/net.cc:3:5: unknown [clang-diagnostic-error]"]


def test_crash_of_clang_tidy_is_a_finding(findings):
    assert findings("", 139) == ["base/net.cc: clang-tidy: exit code 139: trouble\n"]
