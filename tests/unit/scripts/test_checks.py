# SPDX-License-Identifier: Apache-2.0
"""check-style, check-sizes and check-commit report breaches that are planted in a small tree."""
import shutil
import subprocess

import cpp_sizes
import pytest
from build_directory import REPO

GOOD_CPP = "// A file.\nint one() { return 1; }\n"
GOOD_COMMIT = "base: add a file\n\nIt is needed.\n"


@pytest.fixture
def tree(tmp_path):
    """A repository without a breach."""
    for name in (".clang-format", "scripts/check-commit"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPO / name, tmp_path / name)
    git(tmp_path, "init", "-q")
    write(tmp_path, "base/one.cc", GOOD_CPP)
    commit(tmp_path, GOOD_COMMIT)
    return tmp_path


def git(tree, *arguments, **settings):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=tree, check=True, **settings)


def write(tree, name, text):
    (tree / name).parent.mkdir(exist_ok=True, parents=True)
    (tree / name).write_text(text)
    git(tree, "add", "-A")


def commit(tree, message):
    git(
        tree,
        "commit",
        "-q",
        "--allow-empty",
        "--cleanup=verbatim",
        "-F",
        "-",
        input=message,
        text=True,
    )


def check(name, tree, *arguments):
    """Runs a check and returns its exit code and the lines that it prints."""
    done = subprocess.run(
        [REPO / "scripts" / name, "--root", tree, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip().split("\n")


@pytest.mark.parametrize("name", ["check-style", "check-sizes", "check-commit"])
def test_check_of_tree_without_breach_passes(tree, name):
    code, lines = check(name, tree)
    assert code == 0, lines


LONG = "x" * 101


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("base/two.cc", "int  two();\n", ":1: clang-format would change it"),
        ("base/two.h", f"// {LONG}\n", ":1: 104 columns"),
        ("base/two.py", f"\n# {LONG}\n", ":2: 103 columns"),
        ("scripts/two", f"#!/bin/bash\n# {LONG}\n", ":2: 103 columns"),
        ("docs/two.md", f"{LONG}\n", ":1: 101 columns"),
        ("docs/two.md", "text \n", ":1: ends with a space"),
        ("docs/two.md", f"See https://example.org/ and {LONG}\n", ":1: 130 columns"),
        ("meson.build", "\tsubdir('base')\n", ":1: has a tab"),
    ],
)
def test_style_breach_is_reported(tree, name, text, expected):
    write(tree, name, text)
    code, lines = check("check-style", tree)
    assert code == 1
    assert name + expected in lines


@pytest.mark.parametrize(
    "name, text",
    [
        ("docs/two.md", f"| {LONG} |\n"),
        ("docs/two.md", f"```\n{LONG}\n```\n"),
        ("docs/two.md", f"See https://example.org/{LONG}\n"),
        ("base/two.cc", f"// clang-format off\nint  two();  // {LONG}\n// clang-format on\n"),
        ("docs/two.svg", f"<svg>{LONG}</svg>\n"),
    ],
)
def test_style_exemption_is_not_reported(tree, name, text):
    write(tree, name, text)
    assert check("check-style", tree) == (0, [""])


def body(lines):
    """Returns a C++ function body of that many lines."""
    return "{\n" + "  call();\n" * (lines - 2) + "}\n"


MEMBERS = "".join(f"  int member{i}_ = 0;\n" for i in range(21))
ATTRIBUTES = "".join(f"        self.a{i} = 0\n" for i in range(21))


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("base/two.cc", "//\n" * 601, ":1: 601 lines, of at most 600"),
        ("docs/two.md", "text\n" * 601, ":1: 601 lines, of at most 600"),
        ("base/two.cc", f"void two() {body(71)}", ":1: two has 71 lines, of at most 70"),
        (
            "base/two.cc",
            f"namespace a {{\nclass B {{\n  B() : x{{1}} {body(71)}}};\n}}\n",
            ":3: constructor has 71 lines, of at most 70",
        ),
        (
            "base/two.h",
            f"class Two {{\n void run();\n{MEMBERS}}};\n",
            ":1: Two has 21 data members, of at most 20",
        ),
        (
            "base/two.py",
            "def two():\n" + "    call()\n" * 70,
            ":1: two has 71 lines, of at most 70",
        ),
        (
            "base/two.py",
            f"class Two:\n    def __init__(self):\n{ATTRIBUTES}",
            ":1: Two has 21 data members, of at most 20",
        ),
    ],
)
def test_size_breach_is_reported(tree, name, text, expected):
    write(tree, name, text)
    code, lines = check("check-sizes", tree)
    assert code == 1
    assert name + expected in lines


def test_size_of_folder_counts_pairs_once(tree):
    for number in range(15):
        write(tree, f"base/f{number}.h", "//\n")
        write(tree, f"base/f{number}.cc", "//\n")
    assert check("check-sizes", tree)[0] == 0
    write(tree, "base/more.h", "//\n")
    assert "base/:1: 17 sources, of at most 16" in check("check-sizes", tree)[1]


def test_sizes_at_their_limits_are_not_reported(tree):
    write(tree, "base/two.cc", f"void two() {body(70)}" + "//\n" * 530)
    write(tree, "base/two.py", "def two():\n" + "    call()\n" * 69)
    assert check("check-sizes", tree) == (0, [""])


@pytest.mark.parametrize(
    "text, functions",
    [
        ("int f() { if (a) { b(); } }\nint g();\n", ["f"]),
        ('extern "C" {\nint f() {\n}\n}', ["f"]),
        ('const char* s = "{";\nint f() { /* } */ return \'{\'; }\n', ["f"]),
        ("int n = 1'000'000;\nint f() {\n}", ["f"]),
        ('auto s = R"({{{)";\nint f() {\n}', ["f"]),
        ("#define X {\nint f() {\n}", ["f"]),
        ("std::vector<int> a = {1, 2};\nstd::map<int, int> b{{1, 2}};\nint f() {\n}", ["f"]),
        ("bool operator==(A a, B b) { return {}; }\nint f() {\n}", ["operator==", "f"]),
        ("auto g = [](int x) { return x; };\nint f() {\n}", ["f"]),
        ("void f(A a = {}, B b = {1}) {\n}", ["f"]),
        (
            "template <class T, int n = (1 > 0)>\nauto C<T>::f() noexcept(true) -> D<T> {\n}",
            ["C::f"],
        ),
        ("C::C(int a) : b_(a), c_{a} {\n}\nint f() {\n}", ["C::C", "constructor", "f"]),
        ("TEST(A, B) {\n}", ["TEST"]),
    ],
)
def test_functions_are_found(text, functions):
    assert [one.name for one in cpp_sizes.measure(text)[0]] == functions


@pytest.mark.parametrize(
    "text, members",
    [
        ("int a; int b_ = 0; int c{1}; int d[4] = {1, 2, 3, 4};", 4),
        ("int a, b, *c;", 3),
        ("std::map<int, std::pair<A, B>> a; std::function<void(int, int)> b = [](int) { };", 2),
        (
            "static constexpr int kA = 1; static int b; using C = int; friend class D; enum { E, F };",
            0,
        ),
        (
            "void f(); int g() const { return 1; } A() = default; A& operator=(const A&) = delete;",
            0,
        ),
        (
            "bool operator==(const A&) const = default; auto operator<=>(const A&) const = default;",
            0,
        ),
        ("struct B { int x; int y; }; B b; struct { int z; } c;", 2),
        ("class B; public: int a; private: int b;", 2),
        ("alignas(64) std::atomic<int> a{0}; [[no_unique_address]] B b; mutable C c;", 3),
        ("int a : 4; int b : 28; void (*call)(int, int) = nullptr;", 3),
        ("std::unique_ptr<A> a = make(1, 2); int b = f(1);", 2),
    ],
)
def test_data_members_are_counted(text, members):
    found = {one.name: one.members for one in cpp_sizes.measure(f"class A {{ {text} }};")[1]}
    assert found["A"] == members


@pytest.mark.parametrize(
    "message, expected",
    [
        ("base: " + "a" * 70, "the subject has 76 columns, of at most 72"),
        ("add a file", "the subject is not `topic: imperative`"),
        ("base, docs: add a file", "the topic is not one or two words in lowercase"),
        ("base and docs: add a file", "the topic is not one or two words in lowercase"),
        ("Base: add a file", "the topic is not one or two words in lowercase"),
        ("base: Add a file", "no verb in lowercase"),
        ("base: added a file", "'added' is not an imperative"),
        ("base: adds a file", "'adds' is not an imperative"),
        ("base: adding a file", "'adding' is not an imperative"),
        ("base: add a file.", "the subject ends with a full stop"),
        ("base: add a file\nat once", "no blank line follows the subject"),
        (f"base: add a file\n\n{LONG}", "a line of the body has 101 columns, of at most 100"),
    ],
)
def test_commit_breach_is_reported(tree, message, expected):
    commit(tree, message + "\n")
    commit(tree, GOOD_COMMIT)
    code, lines = check("check-commit", tree)
    assert code == 1
    assert any(expected in line for line in lines)
    assert lines[-1].startswith("check-commit: 3 commits, 1 breach")
    assert check("check-commit", tree, "HEAD~1..HEAD")[0] == 0


def test_commits_before_the_check_are_not_checked(tree):
    git(tree, "checkout", "-q", "--orphan", "other")
    git(tree, "rm", "-q", "--cached", "scripts/check-commit")
    commit(tree, "whatever it was\n")
    git(tree, "add", "-A")
    commit(tree, GOOD_COMMIT)
    assert check("check-commit", tree)[1] == ["check-commit: 1 commits, 0 breaches"]


def test_commits_of_shallow_clone_are_checked(tree, tmp_path):
    commit(tree, "base: adds a file\n")
    commit(tree, GOOD_COMMIT)
    for depth, code in ((1, 0), (2, 1)):
        clone = tmp_path / f"clone{depth}"
        git(tree, "clone", "-q", "--depth", str(depth), tree.as_uri(), clone)
        assert check("check-commit", clone)[0] == code


def test_message_file_is_checked(tree, tmp_path):
    (tmp_path / "message").write_text("base: adds a file\n\n# A comment of git.\n")
    assert check("check-commit", tree, "--message", tmp_path / "message")[0] == 1


def test_check_without_repository_says_why(tmp_path):
    code, lines = check("check-sizes", tmp_path)
    assert code == 77
    assert lines[0].startswith("cannot run here: git cannot list the files")
