# SPDX-License-Identifier: Apache-2.0
"""Selects the rule sets to measure: ClassBench files if there are any, and otherwise sets generated
from a seed.

A set is NAME.xz with NAME_trace.xz in the rulesets directory, or KIND_COUNT for a generated one
(generate.KINDS). The name says the kind: acl1_10000 is of kind acl.
"""

import os
import re

from . import generate, rulesets
from testbed.bed import TestbedError

SEED = 1
SIZES = (1000, 10_000, 100_000)
MIXED = ("acl", "fw", "ipc")  # The means are over these: rules as operators write them.
_HARD = (("masks", 100_000), ("nest", 20_000))
# The beginning of a set's name in a rulesets directory, by kind.
_CLASSBENCH = {"acl": "acl1", "fw": "fw1", "ipc": "ipc1", "masks": "msk", "nest": "nest"}
_KINDS = {"acl": "acl", "fw": "fw", "ipc": "ipc", "msk": "masks", "masks": "masks", "nest": "nest"}


def kind_of(name):
    """Returns the kind of a set, or None if it is not known."""
    found = re.match(r"(acl|fw|ipc|msk|masks|nest)\d*_", name)
    return _KINDS[found.group(1)] if found else None


def size_of(name):
    """Returns the number of rules at the end of a name, or 0 if there is none."""
    found = re.search(r"_(\d+)$", name)
    return int(found.group(1)) if found else 0


def available(directory):
    """Returns the sets of a rulesets directory, sorted by size and name."""
    try:
        files = os.listdir(directory)
    except OSError:
        return []
    names = {name.removesuffix(".xz") for name in files if name.endswith(".xz")}
    return sorted(
        (name for name in names if name + "_trace" in names), key=lambda name: (size_of(name), name)
    )


def standard_sets(context):
    """Returns [(directory, name)]: the access lists, firewalls and chains of 1,000, 10,000 and
    100,000 rules, and the hard sets. What the directory lacks is generated."""
    there = available(context.rulesets)
    chosen = []
    for kind, size in [(kind, size) for size in SIZES for kind in MIXED] + list(_HARD):
        found = [
            (context.rulesets, name)
            for name in there
            if (kind_of(name), size_of(name)) == (kind, size)
        ]
        chosen += found or [made(context, kind, size)]
    return chosen


def named_set(context, word):
    """Returns (directory, name) of a set that unknown_set() accepts."""
    if os.path.isfile(word):
        return os.path.dirname(os.path.abspath(word)), os.path.basename(word).removesuffix(".xz")
    if word in available(context.rulesets):
        return context.rulesets, word
    kind, size = _by_seed(word)
    return made(context, kind, size)


def _by_seed(word):
    """Returns (kind, count), or None if the word names no generated set."""
    found = re.fullmatch(rf"({'|'.join(generate.KINDS)})_(\d+)", word)
    return (
        (found.group(1), int(found.group(2)))
        if found and 1 <= int(found.group(2)) <= 1_000_000
        else None
    )


def unknown_set(directory, word):
    """Returns why there is no such set, or None if there is one."""
    if os.path.isfile(word):
        trace = word.removesuffix(".xz") + "_trace.xz"
        if not word.endswith(".xz"):
            return f"{word}: a set is a compressed file NAME.xz with NAME_trace.xz"
        return None if os.path.isfile(trace) else f"{word}: its trace {trace} is missing"
    if word in available(directory) or _by_seed(word):
        return None
    there = ", ".join(available(directory)) or "no sets"
    kinds = ", ".join(f"{kind}_N" for kind in generate.KINDS)
    return (
        f"no part and no set is named '{word}'; {directory} has {there}; "
        f"generated sets are {kinds} with N rules"
    )


def made(context, kind, count):
    """Generates a set if needed and returns its (directory, name)."""
    name = f"{kind}_{count}"
    if not rulesets.find(context.scratch, name):
        context.say(f"generating {name} from seed {SEED}")
        try:
            generate.write(context.scratch, kind, count, SEED)
        except ValueError as error:
            raise TestbedError(f"{name}: {error}") from error
    return context.scratch, name


def rule_set(context, kind, count):
    """Returns (name, filters, trace) of a set of that kind and size, from the directory or
    generated."""
    directory, name = context.rulesets, f"{_CLASSBENCH[kind]}_{count}"
    if name not in available(directory):
        directory, name = made(context, kind, count)
    return (
        name,
        rulesets.read_filters(rulesets.find(directory, name)),
        rulesets.read_trace(rulesets.find(directory, name + "_trace")),
    )
