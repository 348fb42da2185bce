#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our `flow` grammar with testpmd's own parser.

Each line goes to dpdk-testpmd and to our parser (tests/oracles/flow_parse.cc). Both must accept it
or both must refuse it, except for the listed differences, each of which a test demonstrates. The
canonical text of each accepted line goes back into testpmd, which must understand the same
(tests/oracles/testpmd_rules.c prints the rule that it built).

SEED=N selects other lines. Each message has the seed.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flow_lines import HEAD, LONGEST_LINE, Lines, TAIL, every_form

REPO = Path(__file__).resolve().parents[3]
SEED = int(os.environ.get("SEED", "20240611"), 0)
TESTPMD = [
    "dpdk-testpmd",
    "--no-huge",
    "--no-pci",
    "-m",
    "64",
    "--no-shconf",
    "--lcores",
    "0@0,1@0",
    "--vdev",
    "net_null0",
    "--",
    "-i",
    "--total-num-mbufs=2048",
    "--no-mlockall",
]
# (the difference, our parser's error for such a line, lines that only testpmd accepts)
REFUSED_BY_US = [
    (
        "exactly one direction is asked for",
        r"exactly one direction|has no direction",
        [
            "flow validate 0 pattern eth / end actions drop / end",
            "flow validate 0 ingress egress pattern eth / end actions drop / end",
            "flow validate 0 ingress transfer pattern eth / end actions drop / end",
        ],
    ),
    (
        "rte_flow allows no mask or last without a spec; testpmd passes it on",
        r"but no value",
        [
            HEAD + "ipv4 src mask 255.0.0.0" + TAIL,
            HEAD + "tcp dst last 5" + TAIL,
            HEAD + "eth dst prefix 5" + TAIL,
        ],
    ),
    (
        "a number too large for a bit field is cut by testpmd",
        r"not a number up to (1|7|4095|1048575)$",
        [
            HEAD + "vlan vid is 4096" + TAIL,
            HEAD + "vlan pcp is 8" + TAIL,
            HEAD + "vlan dei is 2" + TAIL,
            HEAD + "ipv6 flow is 0x100000" + TAIL,
            HEAD + "eth has_vlan is 2" + TAIL,
        ],
    ),
    (
        "a port is matched whole or not at all",
        r"matched whole|ports have no ranges",
        [
            HEAD + "port_id id is 1 id mask 1" + TAIL,
            HEAD + "port_id id is 1 id last 2" + TAIL,
            HEAD + "represented_port ethdev_port_id is 1 ethdev_port_id prefix 3" + TAIL,
        ],
    ),
    (
        "items and fields that a flow key does not have",
        r"not a pattern item|cannot stand in item",
        [
            HEAD + item + TAIL
            for item in (
                "any",
                "invert",
                "meta",
                "tag",
                "gre",
                "esp",
                "raw relative is 1",
                "ipv4 version_ihl is 69",
                "ipv4 packet_id is 1",
                "sctp tag is 1",
                "ipv6_ext next_hdr is 44",
                "ipv6_frag_ext next_hdr is 6",
                "vxlan last_rsvd is 1",
            )
        ],
    ),
    (
        "actions that the switch does not have",
        r"not an action|cannot stand in action port_id",
        [
            HEAD + "eth / end actions " + action + " / end"
            for action in (
                "queue index 0",
                "flag",
                "rss",
                "vxlan_decap",
                "sample",
                "age",
                "port_id original 1",
            )
        ],
    ),
    (
        "tunnels, and verbs for what the switch does not have",
        r"not an attribute|not a flow command",
        [
            "flow validate 0 ingress tunnel_set 1 pattern eth / end actions drop / end",
            "flow isolate 0 0",
            "flow aged 0",
        ],
    ),
    (
        "only count can be queried",
        r"not an action that can be queried",
        ["flow query 0 0 drop", "flow query 0 0 age"],
    ),
]
TAKEN_BY_US = [
    HEAD + "eth / end actions normal / end",
    HEAD + "eth / end actions port_id id vm1/net0 / end",
    "flow validate 0 transfer pattern represented_port ethdev_port_id is vm1/net0 / end "
    "actions drop / end",
    "flow validate vm1/net0 ingress pattern eth / end actions drop / end",
    "flow list vm1/net0",
    "validate 0 ingress pattern eth / end actions drop / end",
]
# Found in our canonical text, or in the line itself if a mask of 0 removed the name.
PORT_BY_NAME = (
    r"^flow \w+ [a-z]|(ethdev_port_id|port_representor port_id|port_id id) (is )?(?!is )[A-Za-z]"
)
PORT_BY_NAME_IN_ITEM = r"\b(ethdev_port_id|port_id|id) (is|spec) [A-Za-z]"
# Lines that both parsers must accept.
BOTH_TAKE = [
    "flow destroy 0 rule 0",
    "flow destroy 0 rule 0 rule 1 rule 0x2",
    "flow flush 0",
    "flow query 0 0 count",
    "flow list 0",
    "flow list 0 group 1",
    "flow list 0 group 1 group 2",
    "flow dump 0 all",
    "flow dump 0 all dumped",
    "flow dump 0 rule 0",
    "flow dump 0 rule 0 dumped",
    "  flow list 0   # remark",
    "flow validate 1 ingress pattern eth / end actions drop / end",
    "flow validate 0x0 ingress pattern end actions end",
    HEAD + "eth src is 0200:0000:0001" + TAIL,
    HEAD + "eth type is 010" + TAIL,
    HEAD + "eth type is +5" + TAIL,
    HEAD + "ipv4 src is 010" + TAIL,
]
BOTH_REFUSE = [
    "flow",
    "flow create",
    "flow create 0",
    "flow create 0 ingress",
    "flow destroy 0",
    "flow destroy 0 rule",
    "flow destroy 0 rule 0 1",
    "flow destroy 0 rule -1",
    "flow flush",
    "flow flush 0 0",
    "flow query 0",
    "flow query 0 0",
    "flow query 0 0 count 1",
    "flow list",
    "flow list 0 group",
    "flow list 0 1",
    "flow dump 0",
    "flow dump 0 all a b",
    "flow dump 0 rule 0 rule 1",
    "flow creat 0 ingress pattern eth / end actions drop / end",
    "flow validate 65536 ingress pattern end actions end",
    "flow validate 0 ingr pattern eth / end actions drop / end",
    HEAD + "Eth" + TAIL,
    HEAD + "eth#" + TAIL,
    HEAD + "eth type is 08" + TAIL,
    HEAD + "eth type is 0x" + TAIL,
    HEAD + "eth type is 65536" + TAIL,
    HEAD + "eth type is -1" + TAIL,
    HEAD + "eth type is 1e3" + TAIL,
    HEAD + "eth type is 18446744073709551616" + TAIL,
    HEAD + "eth src is 2:0:0:0:0:1" + TAIL,
    HEAD + "eth src is 02-00-00-00-00-01" + TAIL,
    HEAD + "eth src is 5" + TAIL,
    HEAD + "ipv4 src is 1.2.3" + TAIL,
    HEAD + "ipv4 src is 1.2.3.04" + TAIL,
    HEAD + "ipv6 src is 10" + TAIL,
    HEAD + "ipv4 src is 4294967296" + TAIL,
    HEAD + "vxlan vni is 16777216" + TAIL,
    HEAD + "eth src" + TAIL,
    HEAD + "ipv4 src is 1.1.1.1 src prefix 33" + TAIL,
    HEAD + "vlan vid is 1 vid prefix 13" + TAIL,
    HEAD + "eth end actions drop / end",
    HEAD + "eth / / end actions drop / end",
    HEAD + "eth / end / actions drop / end",
    HEAD + "eth / end actions drop end",
    HEAD + "eth / end actions drop/ end",
    HEAD + "eth / end actions drop / / end",
    HEAD + "eth / end actions drop / end / end",
    HEAD + "eth / end actions end / end",
    HEAD + "eth / end actions drop / END",
    HEAD + "eth / end actions mark 5 / end",
    HEAD + "represented_port ethdev_port_id is 65536" + TAIL,
    "flow validate 0 group -1 ingress pattern end actions end",
    "flow validate 0 group 4294967296 ingress pattern end actions end",
    "flow validate 0 pattern end ingress actions end",
]


def compile_once(command, product):
    done = subprocess.run([*command, "-o", str(product)], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return product


def parser_program(scratch):
    built = Path(os.environ.get("GODWIT_BUILD", scratch)) / "tests" / "oracles" / "flow_parse"
    return (
        built
        if built.exists()
        else compile_once(
            [
                "g++",
                "-std=c++20",
                "-I.",
                "tests/oracles/flow_parse.cc",
                "base/net.cc",
                "base/text.cc",
                *(
                    f"dataplane/rules/{name}.cc"
                    for name in (
                        "field_bytes",
                        "flow_command",
                        "rule_parser",
                        "rule_printer",
                        "rule_reference",
                        "value_text",
                        "vocabulary",
                    )
                ),
            ],
            scratch / "flow_parse",
        )
    )


class Oracle:
    def __init__(self, scratch, parser):
        self.scratch, self.parser = scratch, parser
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libdpdk"], capture_output=True, text=True
        ).stdout.split()
        self.preload = compile_once(
            ["gcc", "-shared", "-fPIC", "tests/oracles/testpmd_rules.c", *flags],
            scratch / "rules.so",
        )

    def testpmd(self, lines):
        """Returns for each line what testpmd understood.

        The value is None if testpmd refuses the line, and "" if the line is no rule.
        """
        assert max(map(len, lines)) <= LONGEST_LINE
        done = subprocess.run(
            TESTPMD,
            input="".join(line + "\n" for line in [*lines, "quit"]),
            text=True,
            capture_output=True,
            env=dict(os.environ, LD_PRELOAD=str(self.preload)),
            cwd=self.scratch,
            timeout=120,
        )
        answers = done.stdout.split("testpmd> ")[1:]
        assert len(answers) >= len(
            lines
        ), f"testpmd ended early: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        verdicts = []
        for line, answer in zip(lines, answers):
            echo, _, rest = answer.partition("\n")
            assert echo.strip() == line.strip(), f"out of step: {line!r}, {echo!r}"
            if (
                re.search(r"^(Bad arguments|Command not found)", rest, re.MULTILINE)
                or "Ambiguous command" in rest
            ):
                verdicts.append(None)
            else:
                rule = re.search(r"^RULE (.*)$", rest, re.MULTILINE)
                verdicts.append(rule.group(1).strip() if rule else "")
        return verdicts

    def ours(self, lines):
        """Returns for each line (canonical text, None), or (None, error)."""
        done = subprocess.run(
            [str(self.parser)],
            input="".join(line + "\n" for line in lines),
            text=True,
            capture_output=True,
            timeout=60,
        )
        answers = done.stdout.splitlines()
        assert done.returncode == 0 and len(answers) == len(lines), done.stderr
        verdicts = []
        for answer in answers:
            kind, *rest = answer.split("\t")
            verdicts.append((rest[0], None) if kind == "ok" else (None, rest[2]))
        return verdicts


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    return parser_program(tmp_path_factory.mktemp("parser"))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory, parser):
    if shutil.which("dpdk-testpmd") is None:
        pytest.skip("cannot run here: dpdk-testpmd is not installed")
    return Oracle(tmp_path_factory.mktemp("grammar"), parser)


def explained(line, ours, theirs):
    """Returns the documented difference that explains a disagreement, or None."""
    canonical, why = ours
    if theirs is not None:
        return next((what for what, pattern, _ in REFUSED_BY_US if re.search(pattern, why)), None)
    named = re.search(PORT_BY_NAME, canonical) or re.search(PORT_BY_NAME_IN_ITEM, line)
    return "a port by its name" if named else None


def test_valid_lines_are_accepted_and_mean_the_same_in_canonical_form(oracle):
    lines, source = [], Lines(SEED)
    while len(lines) < 500:
        lines.append(source.line())
    theirs, ours = oracle.testpmd(lines), oracle.ours(lines)
    compared = []
    for line, understood, (canonical, why) in zip(lines, theirs, ours):
        assert understood, f"SEED={SEED}: testpmd refuses {line}"
        if canonical is None:
            assert explained(
                line, (canonical, why), understood
            ), f"SEED={SEED}: refused: {why}: {line}"
            continue
        compared.append((understood, canonical, line))
    assert len(compared) >= 450, f"SEED={SEED}"
    fitting = [entry for entry in compared if len(entry[1]) <= LONGEST_LINE]
    assert len(fitting) >= 0.95 * len(compared), f"SEED={SEED}"
    for (understood, canonical, line), again in zip(
        fitting, oracle.testpmd([entry[1] for entry in fitting])
    ):
        assert again == understood, f"SEED={SEED}:\n{line}\n{canonical}"


def test_all_forms_of_fields_and_actions_mean_the_same_in_canonical_form(oracle):
    lines = list(every_form(Lines(SEED + 3)))
    theirs, ours = oracle.testpmd(lines), oracle.ours(lines)
    for line, understood, (canonical, why) in zip(lines, theirs, ours):
        assert understood and canonical, f"SEED={SEED}: {why}: {line}"
    canonicals = [canonical for canonical, _ in ours]
    for line, canonical, understood, again in zip(
        lines, canonicals, theirs, oracle.testpmd(canonicals)
    ):
        assert again == understood, f"SEED={SEED}:\n{line}\n{canonical}"


def test_canonical_text_is_a_fixed_point(oracle):
    source = Lines(SEED + 1)
    first = [
        canonical for canonical, _ in oracle.ours([source.line() for _ in range(500)]) if canonical
    ]
    assert [canonical for canonical, _ in oracle.ours(first)] == first, f"SEED={SEED}"


def test_broken_lines_are_refused_by_both_parsers_or_neither(oracle):
    source = Lines(SEED + 2)
    lines = [source.broken() for _ in range(600)]
    theirs, ours = oracle.testpmd(lines), oracle.ours(lines)
    taken = refused = 0
    for line, understood, verdict in zip(lines, theirs, ours):
        if (understood is None) == (verdict[0] is None):
            taken += understood is not None
            refused += understood is None
            continue
        assert explained(
            line, verdict, understood
        ), f"SEED={SEED}: testpmd {understood!r}, we {verdict}: {line}"
    assert taken > 20 and refused > 300, f"SEED={SEED}: {taken} taken, {refused} refused"


def test_fixed_lines_get_the_same_verdict_from_both_parsers(oracle):
    lines = BOTH_TAKE + BOTH_REFUSE
    for line, understood, (canonical, why) in zip(lines, oracle.testpmd(lines), oracle.ours(lines)):
        assert (understood is not None) == (line in BOTH_TAKE), f"testpmd, {line}: {understood}"
        assert (canonical is not None) == (line in BOTH_TAKE), f"ours, {line}: {why}"


@pytest.mark.parametrize(
    "what, pattern, lines", REFUSED_BY_US, ids=[entry[0] for entry in REFUSED_BY_US]
)
def test_documented_refusals_are_only_ours(oracle, what, pattern, lines):
    for line, understood, (canonical, why) in zip(lines, oracle.testpmd(lines), oracle.ours(lines)):
        assert understood is not None, f"testpmd refuses it too: {line}"
        assert canonical is None, f"we take it: {line}"
        assert re.search(pattern, why), f"{why}: {line}"


def test_documented_extensions_are_only_ours(oracle):
    for line, understood, (canonical, why) in zip(
        TAKEN_BY_US, oracle.testpmd(TAKEN_BY_US), oracle.ours(TAKEN_BY_US)
    ):
        assert understood is None, f"testpmd takes it too: {line}"
        assert canonical is not None, f"{why}: {line}"


def test_reference_page_matches_vocabulary_table(parser):
    page = subprocess.run(
        [str(parser), "--reference"], capture_output=True, text=True, timeout=60
    ).stdout
    assert (
        REPO / "docs" / "user" / "rules.md"
    ).read_text() == page, "generate it again: flow_parse --reference > docs/user/rules.md"
