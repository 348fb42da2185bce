# SPDX-License-Identifier: Apache-2.0
"""The `godwit` command against a real daemon: output, exit codes, files and the shell."""
import json
import os
import pty
import select
import subprocess
import time

import pytest
from switch import BUILD

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


@pytest.fixture
def godwit(switch):
    def run(*words, stdin=None):
        return subprocess.run(
            [
                BUILD / "control" / "cli" / "godwit",
                "--socket",
                switch.socket_path,
                *map(str, words),
            ],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_command_prints_reply_of_daemon(godwit, switch):
    done = godwit("show", "endpoints")
    assert (done.returncode, done.stdout, done.stderr) == (DONE, switch.text("show endpoints"), "")
    assert json.loads(godwit("--json", "show", "endpoints").stdout) == switch.data("show endpoints")


def test_refused_command_marks_the_word(godwit):
    done = godwit(
        "flow",
        "create",
        "vm1/net0",
        "ingress",
        "pattern",
        "eth",
        "/",
        "ipv9",
        "/",
        "end",
        "actions",
        "drop",
        "/",
        "end",
    )
    message, line, caret, *_ = done.stderr.splitlines()
    assert done.returncode == REFUSED and message
    assert line[caret.index("^") :].startswith("ipv9")


def test_usage_errors_and_absent_daemon_have_their_exit_codes(godwit, switch):
    assert godwit("--nonsense").returncode == USAGE
    assert godwit("migration", "import", "file", "vm1/net0=nowhere").returncode == USAGE
    switch.stop()
    assert godwit("show", "endpoints").returncode == UNREACHABLE


def test_command_file_stops_at_first_failure(godwit, switch, folder):
    rule = "flow create vm1/net0 ingress priority {} pattern eth / ipv4 / end actions count / end\n"
    commands = folder / "commands"
    commands.write_text(
        "# two good ones\n" + rule.format(7) + rule.format(8) + "show nothing\n" + rule.format(9)
    )
    done = godwit("-f", commands)
    assert done.returncode == REFUSED and done.stderr.startswith(f"{commands}:4: ")
    listed = switch.text("flow list vm1/net0")
    assert "priority 8" in listed and "priority 9" not in listed


def test_piped_lines_continue_after_refusal(godwit):
    done = godwit(stdin="show nothing\nversion\nquit\nversion\n")
    assert done.returncode == REFUSED and done.stdout.count("godwit") == 1


def test_document_exported_to_file_imports_again(godwit, switch, folder):
    document = folder / "vm1.json"
    assert godwit("migration", "export", "vm1", document).returncode == DONE
    assert json.loads(document.read_text())["vm"] == "vm1"
    before = switch.picture()
    port = switch.rpc.call("show.port.stats", port="vm1/net0")["ports"][0]["port"]
    assert godwit("migration", "rewrite", "vm1").returncode == DONE
    assert switch.picture() != before
    done = godwit("migration", "import", document, f"vm1/net0=port:{port}")
    assert done.returncode == DONE, done.stderr
    assert switch.picture() == before


def test_truncated_document_is_refused_and_changes_nothing(godwit, switch, folder):
    document = folder / "vm1.json"
    godwit("migration", "export", "vm1", document)
    text = document.read_text()
    assert godwit("migration", "rewrite", "vm1").returncode == DONE
    before = switch.picture()
    for length in (0, 1, len(text) // 2, len(text) - 3):
        document.write_text(text[:length])
        done = godwit("migration", "import", document)
        assert done.returncode == REFUSED and done.stderr
    assert switch.picture() == before


def test_refused_export_writes_no_file(godwit, folder):
    assert godwit("migration", "export", "vm99", folder / "none.json").returncode == REFUSED
    assert not (folder / "none.json").exists()


def test_shell_has_prompt_completion_and_history(switch, folder):
    terminal, other = pty.openpty()
    shell = subprocess.Popen(
        [BUILD / "control" / "cli" / "godwit", "--socket", switch.socket_path],
        stdin=other,
        stdout=other,
        stderr=other,
        env=os.environ | {"HOME": str(folder), "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(other)
    said = b""

    def until(what):
        nonlocal said
        end = time.monotonic() + 20
        while what not in said:
            assert time.monotonic() < end, said
            if select.select([terminal], [], [], 0.1)[0]:
                said += os.read(terminal, 4096)
        said = said[said.index(what) + len(what) :]

    try:
        until(b"godwit> ")
        os.write(terminal, b"show endp\t")
        until(b"oints")
        os.write(terminal, b"\n")
        until(b"vm1/net0")
        until(b"godwit> ")
        os.write(terminal, b"quit\n")
        assert shell.wait(20) == DONE
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)
    assert "show" in (folder / ".godwit_history").read_text()
