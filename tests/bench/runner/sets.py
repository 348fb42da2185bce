# SPDX-License-Identifier: Apache-2.0
"""Which rule sets are measured: ClassBench files where there are some, else sets of our own by seed."""

import os

from . import generate, rulesets

SEED = 1
# Of a rulesets directory: the name of a set by kind.
_CLASSBENCH = {"acl": "acl1", "fw": "fw1", "ipc": "ipc1", "masks": "msk", "nest": "nest"}


def set_name(context, kind, count):
    """The name of a set that is there, made where it has to be: in the rulesets directory, or in a scratch one."""
    name = f"{_CLASSBENCH[kind]}_{count}"
    if rulesets.find(context.rulesets, name) and rulesets.find(context.rulesets, name + "_trace"):
        return context.rulesets, name
    made = f"{kind}_{count}"
    if not rulesets.find(context.scratch, made):
        context.say(f"no {name} in {context.rulesets}: making {made} by seed {SEED}")
        generate.write(context.scratch, kind, count, SEED)
    return context.scratch, made


def rule_set(context, kind, count):
    """(name, filters, trace)"""
    directory, name = set_name(context, kind, count)
    return (name, rulesets.read_filters(rulesets.find(directory, name)),
            rulesets.read_trace(rulesets.find(directory, name + "_trace")))


def path_of(context, word):
    """(directory, name) of a set that the user named: a name in the rulesets directory, or a file's path."""
    if os.path.isfile(word):
        return os.path.dirname(os.path.abspath(word)), os.path.basename(word).removesuffix(".xz")
    return context.rulesets, word
