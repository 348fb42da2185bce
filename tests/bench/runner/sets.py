# SPDX-License-Identifier: Apache-2.0
"""Which rule sets are measured: ClassBench files where there are some, else sets of our own by seed.

A set is NAME.xz with NAME_trace.xz in the rulesets directory, or KIND_COUNT for one by seed (generate.KINDS). Names say
what kind it is: acl1_10000 is of kind acl.
"""

import os
import re

from . import generate, rulesets
from testbed.bed import TestbedError

SEED = 1
SIZES = (1000, 10_000, 100_000)
MIXED = ("acl", "fw", "ipc")  # what the means are over: rules as people write them
_HARD = (("masks", 100_000), ("nest", 20_000))
# Of a rulesets directory: how a set's name begins, by kind.
_CLASSBENCH = {"acl": "acl1", "fw": "fw1", "ipc": "ipc1", "masks": "msk", "nest": "nest"}
_KINDS = {"acl": "acl", "fw": "fw", "ipc": "ipc", "msk": "masks", "masks": "masks", "nest": "nest"}


def kind_of(name):
    """None: of no kind that is known."""
    found = re.match(r"(acl|fw|ipc|msk|masks|nest)\d*_", name)
    return _KINDS[found.group(1)] if found else None


def size_of(name):
    """The number of rules that a name ends with, 0 without one."""
    found = re.search(r"_(\d+)$", name)
    return int(found.group(1)) if found else 0


def available(directory):
    """The sets of a rulesets directory, by size and name."""
    try:
        files = os.listdir(directory)
    except OSError:
        return []
    names = {name.removesuffix(".xz") for name in files if name.endswith(".xz")}
    return sorted(
        (name for name in names if name + "_trace" in names), key=lambda name: (size_of(name), name)
    )


def standard_sets(context):
    """[(directory, name)]: all of the directory's access lists, firewalls and chains of 1,000, 10,000 and 100,000 rules, and its hard
    sets; what there is none of is made by seed."""
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
    """(directory, name) of what unknown_set() has nothing against."""
    if os.path.isfile(word):
        return os.path.dirname(os.path.abspath(word)), os.path.basename(word).removesuffix(".xz")
    if word in available(context.rulesets):
        return context.rulesets, word
    kind, size = _by_seed(word)
    return made(context, kind, size)


def _by_seed(word):
    """(kind, count); None if the word names no set by seed."""
    found = re.fullmatch(rf"({'|'.join(generate.KINDS)})_(\d+)", word)
    return (
        (found.group(1), int(found.group(2)))
        if found and 1 <= int(found.group(2)) <= 1_000_000
        else None
    )


def unknown_set(directory, word):
    """Why there is no such set, None if there is."""
    if os.path.isfile(word):
        trace = word.removesuffix(".xz") + "_trace.xz"
        if not word.endswith(".xz"):
            return f"{word}: sets are compressed files, NAME.xz with NAME_trace.xz"
        return None if os.path.isfile(trace) else f"{word}: its trace, {trace}, is not there"
    if word in available(directory) or _by_seed(word):
        return None
    there = available(directory)
    return (
        f"no part and no set is named '{word}'; in {directory} there are {', '.join(there) if there else 'no sets'}; "
        f"by seed: {', '.join(f'{kind}_N' for kind in generate.KINDS)} with N rules"
    )


def made(context, kind, count):
    """(directory, name) of a set by seed."""
    name = f"{kind}_{count}"
    if not rulesets.find(context.scratch, name):
        context.say(f"making {name} by seed {SEED}")
        try:
            generate.write(context.scratch, kind, count, SEED)
        except ValueError as error:
            raise TestbedError(f"{name}: {error}") from error
    return context.scratch, name


def rule_set(context, kind, count):
    """(name, filters, trace) of the directory's set of a kind and size, else of one by seed."""
    directory, name = context.rulesets, f"{_CLASSBENCH[kind]}_{count}"
    if name not in available(directory):
        directory, name = made(context, kind, count)
    return (
        name,
        rulesets.read_filters(rulesets.find(directory, name)),
        rulesets.read_trace(rulesets.find(directory, name + "_trace")),
    )
