# SPDX-License-Identifier: Apache-2.0
"""Draws line charts as SVG. The x axis is logarithmic; the y axis is logarithmic or starts at zero.
No library is needed."""

import html
import math

WIDTH, HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 190, 52, 62
# Each series has its own mark and dash, so it can be recognized without color. The colors are those
# of Okabe and Ito.
_STYLES = (
    ("#0072b2", "circle", ""),
    ("#d55e00", "square", "7 4"),
    ("#009e73", "diamond", "2 3"),
    ("#cc79a7", "triangle", "9 3 2 3"),
    ("#56b4e9", "circle", "5 5"),
    ("#e69f00", "square", ""),
)


def chart(title, x_label, y_label, series, log_y=False, note=""):
    """Returns the SVG text. `series` is [(name, [(x, y)])]. x is positive, and so is y if `log_y`.
    Points with None are left out. Raises ValueError if no point is left."""
    series = [
        (name, [(x, y) for x, y in points if x is not None and y is not None])
        for name, points in series
    ]
    series = [(name, points) for name, points in series if points]
    if not series:
        raise ValueError(f"the chart '{title}' has no point")
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    x_axis = _log_axis(min(xs), max(xs))
    y_axis = _log_axis(min(ys), max(ys)) if log_y else _linear_axis(max(ys))
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def place_x(value):
        return _LEFT + (right - _LEFT) * x_axis.share(value)

    def place_y(value):
        return bottom - (bottom - _TOP) * y_axis.share(value)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 26, title, size=16, weight="bold"),
    ]
    if note:
        out.append(_text(_LEFT, 43, note, size=11, fill="#555555"))
    for value in y_axis.ticks:
        y = place_y(value)
        out.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        out.append(_text(_LEFT - 8, y + 4, number(value), anchor="end"))
    for value in x_axis.ticks:
        x = place_x(value)
        out.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="#444444"/>'
        )
        out.append(_text(x, bottom + 20, number(value), anchor="middle"))
    out.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#444444"/>')
    out.append(_text((_LEFT + right) / 2, HEIGHT - 16, x_label, anchor="middle"))
    middle = (_TOP + bottom) / 2
    out.append(
        f'<g transform="rotate(-90 20 {middle:.0f})">'
        f'{_text(20, middle, y_label, anchor="middle")}</g>'
    )
    for index, (name, points) in enumerate(series):
        color, shape, dash = _STYLES[index % len(_STYLES)]
        places = [(place_x(x), place_y(y)) for x, y in sorted(points)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        out.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2"{dashed}/>')
        out += [_mark(shape, x, y, color) for x, y in places]
        legend_y = _TOP + 10 + 22 * index
        out.append(
            f'<line x1="{right + 16}" x2="{right + 48}" y1="{legend_y}" y2="{legend_y}" '
            f'stroke="{color}" stroke-width="2"{dashed}/>'
        )
        out.append(_mark(shape, right + 32, legend_y, color))
        out.append(_text(right + 56, legend_y + 4, name))
    return "\n".join(out) + "\n</svg>\n"


def number(value):
    """Returns 1000 as 1k and 0.5 as 0.5."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


class _Axis:
    def __init__(self, low, high, ticks, scale):
        self.ticks = ticks
        self._low, self._high, self._scale = scale(low), scale(high), scale

    def share(self, value):
        """Returns 0 at the lower end and 1 at the upper end."""
        return (self._scale(value) - self._low) / (self._high - self._low)


def _log_axis(low, high):
    """Returns an axis with ticks at 1, 2 and 5 times a power of ten, few enough to keep labels
    apart."""
    steps = [factor * 10.0**power for power in range(-9, 13) for factor in (1, 2, 5)]
    first = max(i for i, value in enumerate(steps) if value <= low)
    last = min(i for i, value in enumerate(steps) if value >= high)
    last = max(last, first + 1)
    ticks = steps[first : last + 1]
    if len(ticks) > 8:
        ticks = [
            value
            for value in ticks
            if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)
            or math.isclose(math.log10(value) % 1, 1, abs_tol=1e-9)
        ]
    return _Axis(steps[first], steps[last], ticks, math.log10)


def _linear_axis(high):
    step = next(
        factor * 10.0**power
        for power in range(-9, 13)
        for factor in (1, 2, 5)
        if factor * 10.0**power * 6 >= high
    )
    count = max(1, math.ceil(high / step))
    return _Axis(0, count * step, [i * step for i in range(count + 1)], lambda value: value)


def _text(x, y, text, anchor="start", size=13, weight="normal", fill="#222222"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{fill}">'
        f'{html.escape(text)}</text>'
    )


def _mark(shape, x, y, color):
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{color}"/>'
    points = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
        "triangle": ((0, -5.5), (5.5, 4.5), (-5.5, 4.5)),
    }[shape]
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points)
    return f'<polygon points="{corners}" fill="{color}"/>'
