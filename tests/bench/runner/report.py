# SPDX-License-Identifier: Apache-2.0
"""Writes the figures as text for a terminal and as Markdown."""

import os

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def cell(value):
    """Returns the text of a value. A float has as many digits as are significant."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:.0f}"
            if abs(value) >= 100
            else f"{value:.1f}"
            if abs(value) >= 20
            else f"{value:.2f}"
        )
    return str(value)


def text_table(headings, lines):
    """Returns a table with aligned columns."""
    rows = [list(headings)] + [[cell(value) for value in line] for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(headings))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row, widths)) for row in rows
    )


def markdown_table(headings, lines):
    rows = [headings, ["---"] * len(headings)] + [[cell(value) for value in line] for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def goals_table(found, commands=False):
    """Returns (headings, lines) of the goals."""
    headings = ("goal", "value", "wanted", "", *(("command",) if commands else ()))
    return headings, [
        (
            name,
            one["value"],
            one["goal"],
            "met" if one["met"] else "MISSED",
            *((f"`{one['command']}`",) if commands else ()),
        )
        for name, one in found.items()
    ]


def markdown(document, parts):
    """Returns the figures of a run. `document` is what --json writes; `parts` is {name: module}."""
    machine = document["machine"]
    lines = [
        f"Measured by `scripts/bench{' --quick' if document['quick'] else ''}` "
        f"on {machine['cpus']} CPUs, {machine['cpu']}, Linux {machine['kernel']}, "
        f"in {document['seconds'] / 60:.0f} minutes."
    ]
    if document["without_ovs"]:
        lines.append(f"Without OVS-DPDK: {document['without_ovs']}.")
    if document["goals"]:
        lines += [
            "",
            "### Goals",
            "",
            markdown_table(*goals_table(document["goals"], commands=True)),
        ]
    for name, results in document["parts"].items():
        lines += ["", f"### `scripts/bench {name}`"]
        for title, headings, rows in parts[name].tables(results):
            lines += ["", f"{title[0].upper()}{title[1:]}:", "", markdown_table(headings, rows)]
    for name, reason in document["failures"].items():
        lines += ["", f"`scripts/bench {name}` failed: {reason}"]
    return "\n".join(lines) + "\n"


def write_markdown(path, text):
    """Writes `text` between BEGIN and END if the file has these markers, and otherwise as the whole
    file."""
    before, after = "", ""
    if os.path.exists(path):
        with open(path) as file:
            whole = file.read()
        if BEGIN in whole and END in whole:
            before, rest = whole.split(BEGIN, 1)
            before, after = before + BEGIN + "\n", END + rest.split(END, 1)[1]
    with open(path, "w") as file:
        file.write(before + text + after)
