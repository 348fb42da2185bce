# SPDX-License-Identifier: Apache-2.0
"""Figures of interleaved rounds: medians, ratios within a round, spread.

A machine may be shared and noisy, so a figure alone says little. Each round measures every contender once, one after the
other; what counts is the median over rounds of the ratio within a round.
"""

import statistics


def median(values):
    """None of nothing."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def percentile(values, percent):
    """The value below which `percent` of them are; None of nothing."""
    values = sorted(value for value in values if value is not None)
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else None


def geometric_mean(values):
    values = [value for value in values if value is not None]
    return statistics.geometric_mean(values) if values else None


def ratio(rounds, numerator, denominator, field):
    """The median over rounds of field of `numerator` by that of `denominator`; None where either was never measured.

    rounds: a list of {contender: {field: value}}.
    """
    pairs = [
        (one.get(numerator, {}).get(field), one.get(denominator, {}).get(field)) for one in rounds
    ]
    return median([a / b for a, b in pairs if a is not None and b])


def medians(rounds, contender):
    """{field: median} of one contender over rounds."""
    seen = [one[contender] for one in rounds if contender in one]
    fields = {field for one in seen for field in one}
    return {field: median([one.get(field) for one in seen]) for field in sorted(fields)}


def rounded(value, digits=3):
    """For output: numbers cut to `digits` after the point, everything else as it is."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one, digits) for one in value]
    return value
