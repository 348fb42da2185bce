# SPDX-License-Identifier: Apache-2.0
"""Measures functions and classes of C and C++ source text by matching braces.

This is no parser. It knows comments, literals and preprocessor lines, and tells namespaces, enums,
classes, functions and initializers apart by the text before their brace. It counts the functions
and classes at namespace and class scope; a lambda or a local class is a part of its function.
"""
import re
from collections import namedtuple

# `lines` counts from the opening to the closing brace of the body.
Function = namedtuple("Function", "name line lines")
# `members` is the number of data members that each object has.
Class = namedtuple("Class", "name line members")

_SKIPPED = re.compile(
    r'R"(?P<mark>[^()\\ ]{0,16})\(.*?\)(?P=mark)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'  # string
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'"  # character, not a digit separator
    r"|//[^\n]*|/\*.*?\*/"  # comments
    r"|^[ \t]*#(?:\\\n|[^\n])*",  # preprocessor
    re.S | re.M,
)
_ATTRIBUTE = re.compile(r"\[\[.*?\]\]|\balignas\s*\([^()]*\)|__attribute__\s*\(\(.*?\)\)", re.S)
_ACCESS = re.compile(r"^\s*(?:public|protected|private)\s*:(?!:)")
_CLASS = re.compile(r"^(?:typedef\s+)?(?:class|struct|union)\b")
_NO_MEMBER = re.compile(
    r"^(?:using|typedef|friend|static|static_assert|template|enum|extern|"
    r"inline\s+static|constexpr)\b"
)
_NOT_NAMES = {"noexcept", "decltype", "requires", "alignas"}


def strip(text):
    """Returns `text` with literals, comments and preprocessor lines blanked, line for line."""

    def blank(found):
        whole = found[0]
        filler = '""' if whole[0] in "\"'R" else " "
        return filler + "\n" * whole.count("\n")

    return _SKIPPED.sub(blank, text)


def measure(text):
    """Returns (functions, classes) of one source file, in the order in which they end."""
    scanner = _Scanner()
    line = 1
    for character in strip(text):
        scanner.take(character, line)
        line += character == "\n"
    return scanner.functions, scanner.classes


class _Scope:
    """An open brace: its kind, the name and line of what it belongs to, and, for a class, the
    number of data members so far."""

    def __init__(self, kind, name, line):
        self.kind, self.name, self.line, self.members = kind, name, line, 0
        # The surrounding statement, which may continue after the closing brace.
        self.outer_head = ""


class _Scanner:
    def __init__(self):
        self.functions, self.classes = [], []
        self._scopes = [_Scope("namespace", "", 0)]
        # The text since the last end of a statement in the innermost scope.
        self._head = ""
        self._parentheses = 0

    def take(self, character, line):
        scope = self._scopes[-1]
        if scope.kind in ("function", "initializer"):
            # Only braces count in there.
            if character == "{":
                self._open(_Scope(scope.kind, None, line))
            elif character == "}":
                self._close(line)
            return
        if character in "()":
            self._parentheses += 1 if character == "(" else -1
        if character == "{":
            kind, name = ("initializer", None) if self._parentheses else _classify(self._head)
            self._open(_Scope(kind, name, line))
        elif character == "}":
            self._close(line)
        elif character == ";" and self._parentheses == 0:
            if scope.kind == "class":
                scope.members += _data_members(self._head)
            self._head = ""
        else:
            self._head += character
            if _ACCESS.match(self._head):
                self._head = ""

    def _open(self, scope):
        scope.outer_head = self._head
        self._scopes.append(scope)
        self._head = ""

    def _close(self, line):
        if len(self._scopes) == 1:
            return
        scope = self._scopes.pop()
        self._head = ""
        if scope.name is None:
            # A block of a function, or an initializer whose statement continues.
            if scope.kind == "initializer":
                self._head = scope.outer_head + "{}"
        elif scope.kind == "function":
            self.functions.append(Function(scope.name, scope.line, line - scope.line + 1))
        elif scope.kind == "class":
            self.classes.append(Class(scope.name, scope.line, scope.members))
            # A declarator may follow, as in `struct {...} member;`.
            self._head = "{} "
        elif scope.kind == "enum":
            self._head = "{} "


def _classify(head):
    """Returns the kind and the name of what `{` opens after `head`."""
    head = _ATTRIBUTE.sub(" ", head).strip()
    plain = _without_templates(head)
    if re.match(r"(?:inline\s+)?namespace\b", plain) or re.match(r'extern\s*""\s*$', plain):
        return "namespace", ""
    if re.match(r"(?:typedef\s+)?enum\b", plain):
        return "enum", ""
    if _CLASS.match(plain) and "(" not in plain and "=" not in plain:
        names = re.sub(r"\bfinal\b", "", plain.split(":", 1)[0] if "::" not in plain else plain)
        words = re.findall(r"[\w:]+", names)
        return "class", words[1] if len(words) > 1 else "unnamed"
    if head == "" or head.startswith(","):
        # The body after constructor initializers that end in braces.
        return "function", "constructor"
    outside = _without_groups(plain)
    if "(" not in plain or ("=" in outside and "operator" not in outside):
        return "initializer", None
    found = [
        name for name in re.findall(r"([\w:~]+|operator\W+)\s*\(", plain) if name not in _NOT_NAMES
    ]
    return "function", found[0].strip() if found else "unnamed"


def _without_templates(text):
    """Returns `text` without template<...> at its start and without template arguments."""
    text = re.sub(r"\boperator\s*(?:<=>|<<=?|>>=?|<=?|>=?|->)", "operator@", text)
    while True:
        shorter = re.sub(r"(\btemplate\s*)?<[^<>]*>", "", text)
        if shorter == text:
            return text.strip()
        text = shorter


def _without_groups(text):
    """Returns `text` without parentheses and their contents."""
    while True:
        shorter = re.sub(r"\([^()]*\)", "", text)
        if shorter == text:
            return text
        text = shorter


def _data_members(statement):
    """Returns how many data members of each object a statement of a class declares."""
    statement = _ATTRIBUTE.sub(" ", statement).strip()
    if not statement or statement == "{}" or _NO_MEMBER.match(statement):
        return 0
    statement = statement.removeprefix("mutable ")
    if _CLASS.match(statement) and "{}" not in statement and len(statement.split()) == 2:
        return 0  # A forward declaration.
    declared = _without_templates(statement)
    name = declared.split("=", 1)[0]
    if "(*" in name:
        return 1  # A pointer to a function.
    if "operator" in name or "(" in name:
        return 0  # A function.
    return 1 + _without_groups(declared).count(",")
