# SPDX-License-Identifier: Apache-2.0
"""check-docs reports faults that are planted in the documents of a small tree."""
import subprocess

import pytest
from build_directory import REPO


@pytest.fixture
def tree(tmp_path):
    """A repository whose documents have no fault."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    write(tmp_path, "base/one.h", "// A file.\n")
    write(tmp_path, "docs/two.md", "# Two\n\n## A part of it\n\nText.\n")
    write(
        tmp_path,
        "README.md",
        "See `base/one.h`, `one.h`, `base/` and [two](docs/two.md#a-part-of-it).\n"
        "`build/dev/program` and `/etc/passwd` are no files of the repository.\n",
    )
    return tmp_path


def write(tree, name, text):
    (tree / name).parent.mkdir(exist_ok=True, parents=True)
    (tree / name).write_text(text)


def check(tree):
    """Runs the check and returns its exit code and the faults that it prints."""
    done = subprocess.run(
        [REPO / "scripts" / "check-docs", "--root", tree],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[:-1]


def test_documents_without_fault_pass(tree):
    assert check(tree) == (0, [])


LONG = "x" * 101


@pytest.mark.parametrize(
    "text, expected",
    [
        ("`base/two.h`", "page.md:1: `base/two.h` does not exist"),
        ("`two.h`", "page.md:1: no file is called `two.h`"),
        ("\n[gone](docs/three.md)", "page.md:2: the link to docs/three.md leads nowhere"),
        ("[part](docs/two.md#another)", "page.md:1: docs/two.md has no heading #another"),
        (LONG, "page.md:1: 101 columns, at most 100 are allowed"),
        ("`one\ntwo`", "page.md:1: the text in backticks does not end on this line"),
    ],
)
def test_fault_is_reported_with_its_line(tree, text, expected):
    write(tree, "page.md", text + "\n")
    code, faults = check(tree)
    assert code == 1
    assert expected in faults


@pytest.mark.parametrize("text", [f"| {LONG} |", f"    {LONG}", f"```\n{LONG}\n```"])
def test_long_line_of_table_or_code_passes(tree, text):
    write(tree, "page.md", text + "\n")
    assert check(tree) == (0, [])


def test_decision_that_is_not_listed_is_reported(tree):
    write(tree, "docs/design/decisions/README.md", "| [1](0001-one.md) | One |\n")
    write(tree, "docs/design/decisions/0001-one.md", "# 1. One\n")
    write(tree, "docs/design/decisions/0002-two.md", "# 2. Two\n")
    code, faults = check(tree)
    assert code == 1
    assert faults == ["docs/design/decisions/README.md:1: the record 0002-two.md is not listed"]
