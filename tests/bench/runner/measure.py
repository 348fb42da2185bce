# SPDX-License-Identifier: Apache-2.0
"""Medians and ratios of interleaved rounds.

A machine may be shared and noisy, so a figure alone says little. Each round measures every
contender once, one after the other. The result is the median over rounds of the ratio within a
round.
"""

import statistics


def median(values):
    """Returns the median of the values that are not None, or None if there are none."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def percentile(values, percent):
    """Returns the value below which `percent` of the values are, or None if there are none."""
    values = sorted(value for value in values if value is not None)
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else None


def geometric_mean(values):
    values = [value for value in values if value is not None]
    return statistics.geometric_mean(values) if values else None


def ratio(rounds, numerator, denominator, field):
    """Returns the median over rounds of `field` of `numerator` divided by that of `denominator`, or
    None if no round has both.

    `rounds` is a list of {contender: {field: value}}.
    """
    pairs = [
        (one.get(numerator, {}).get(field), one.get(denominator, {}).get(field)) for one in rounds
    ]
    return median([a / b for a, b in pairs if a is not None and b])


def medians(rounds, contender):
    """Returns {field: median over rounds} of one contender."""
    seen = [one[contender] for one in rounds if contender in one]
    fields = {field for one in seen for field in one}
    return {field: median([one.get(field) for one in seen]) for field in sorted(fields)}


def rounded(value, digits=3):
    """Returns `value` with all floats rounded to `digits` decimals."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one, digits) for one in value]
    return value
