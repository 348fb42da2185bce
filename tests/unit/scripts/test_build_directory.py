# SPDX-License-Identifier: Apache-2.0
"""build_directory.py repairs whatever it finds below build/, with a tiny meson project."""
import fcntl
import os
import shutil
import subprocess
import threading

import pytest
from build_directory import STAMP, BuildDirectory, BuildError

PROJECT = """\
project('tiny')
custom_target('made', output: 'made', input: 'source', build_by_default: true,
  command: ['cp', '@INPUT@', '@OUTPUT@'])
"""
RELEASE, DEBUG = ["--buildtype=release"], ["--buildtype=debug"]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "meson.build").write_text(PROJECT)
    (folder / "meson_options.txt").write_text("option('tests', type: 'boolean', value: true)\n")
    (folder / "source").write_text("text\n")
    return folder


def build(project, capfd, options=RELEASE, **settings):
    """Builds and returns the lines in which the script reports a repair."""
    capfd.readouterr()
    BuildDirectory("x", options, source=project, **settings).build()
    made = settings.get("at", project / "build" / "x") / "made"
    assert made.read_text() == "text\n"
    return [line for line in capfd.readouterr().out.split("\n") if line.startswith("build: ")]


def by_hand(project, *arguments):
    subprocess.run(
        ["meson", *arguments],
        cwd=project,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def test_build_in_fresh_clone_reports_nothing(project, capfd):
    assert build(project, capfd) == []


def test_build_again_keeps_directory(project, capfd):
    build(project, capfd)
    (project / "build" / "x" / "kept").write_text("")
    assert build(project, capfd) == []
    assert (project / "build" / "x" / "kept").exists()


def test_build_after_meson_configured_itself_again_keeps_directory(project, capfd):
    build(project, capfd)
    with open(project / "meson.build", "a") as file:
        file.write("message('changed')\n")
    assert build(project, capfd) == []
    assert build(project, capfd) == []


def test_build_with_other_options_sets_up_again(project, capfd):
    build(project, capfd, DEBUG)
    assert build(project, capfd) == [
        "build: sets up build/x again: its options changed from "
        "`--buildtype=debug` to `--buildtype=release`"
    ]
    assert build(project, capfd) == []


def test_build_after_setup_by_hand_sets_up_again(project, capfd):
    by_hand(project, "setup", "build/x", *DEBUG)
    assert "configured by hand" in build(project, capfd)[0]


def test_build_after_meson_configure_sets_up_again(project, capfd):
    build(project, capfd)
    by_hand(project, "configure", "build/x", "-Dtests=false")
    assert "options were changed by hand" in build(project, capfd)[0]


def test_build_with_other_compiler_sets_up_again(project, capfd, monkeypatch):
    build(project, capfd)
    compiler = project / "other-c++"
    compiler.write_text("#!/bin/sh\necho other 1.0\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert "its compiler changed from" in build(project, capfd)[0]
    assert build(project, capfd) == []


def test_build_with_other_flags_sets_up_again(project, capfd, monkeypatch):
    build(project, capfd)
    monkeypatch.setenv("CXXFLAGS", "-O0")
    assert "its environment changed from" in build(project, capfd)[0]


def test_build_in_copied_clone_sets_up_again(project, capfd):
    build(project, capfd)
    copy = project.parent / "copy"
    shutil.copytree(project, copy, symlinks=True)
    assert f"it was copied from {project / 'build' / 'x'}" in build(copy, capfd)[0]


@pytest.mark.parametrize("name", [STAMP, "build.ninja", "meson-private/coredata.dat"])
def test_build_with_missing_file_sets_up_again(project, capfd, name):
    build(project, capfd)
    (project / "build" / "x" / name).unlink()
    assert len(build(project, capfd)) == 1


@pytest.mark.parametrize(
    "name, repairs", [(STAMP, 1), ("build.ninja", 1), ("meson-private/coredata.dat", 0)]
)  # meson repairs this one itself.
def test_build_with_damaged_file_is_repaired(project, capfd, name, repairs):
    build(project, capfd)
    (project / "build" / "x" / name).write_text("not what it should be (")
    with open(project / "meson.build", "a") as file:
        file.write("# Makes ninja configure again.\n")
    assert len(build(project, capfd)) == repairs


def test_build_where_a_file_or_link_is_in_the_way_replaces_it(project, capfd):
    (project / "build").mkdir()
    (project / "build" / "x").write_text("a file")
    assert len(build(project, capfd)) == 1
    shutil.rmtree(project / "build" / "x")
    os.symlink("nowhere", project / "build" / "x")
    assert len(build(project, capfd)) == 1


def test_build_in_directory_of_user_never_erases(project, capfd):
    at = project.parent / "mine"
    assert build(project, capfd, at=at) == []
    (at / "kept").write_text("")
    assert build(project, capfd, DEBUG, at=at) == []
    (at / "build.ninja").write_text("damaged (")
    with pytest.raises(BuildError, match="does not build"):
        build(project, capfd, at=at)
    assert (at / "kept").exists()


def test_build_with_failing_target_keeps_directory_and_reports(project, capfd):
    build(project, capfd)
    (project / "build" / "x" / "kept").write_text("")
    (project / "source").unlink()
    with pytest.raises(BuildError, match="build/x does not build"):
        build(project, capfd)
    assert (project / "build" / "x" / "kept").exists()


def test_setup_failure_is_reported_and_repaired(project, capfd):
    (project / "meson.build").write_text("nonsense(\n")
    with pytest.raises(BuildError, match="cannot configure build/x"):
        build(project, capfd)
    (project / "meson.build").write_text(PROJECT)
    assert len(build(project, capfd)) == 1


def test_missing_tool_is_reported_as_sentence(project, capfd, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match="meson is not installed; scripts/setup installs it"):
        build(project, capfd)


def test_build_waits_for_another_one_and_says_so(project, capfd):
    (project / "build").mkdir()
    with open(project / "build" / ".x.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        timer.start()
        lines = build(project, capfd)
        timer.join()
    assert lines == ["build: waits for another command that builds build/x"]
