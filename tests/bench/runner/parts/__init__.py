# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/bench, one module each.

run(context) measures and returns what goes into the JSON. tables(results) returns
[(title, headings, lines)]. plots(results), where there is one, returns [(file name, SVG)].
"""
