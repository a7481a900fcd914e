"""Charts as SVG in the page: no script, no style of their own, their figures beside them as a table."""

import math
from collections.abc import Callable, Mapping, Sequence

import htpy as h

#: Points by series, each its place on the x axis and its value.
Series = Mapping[str, Sequence[tuple[float, float]]]

_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 32
#: Of a character below.
_CHAR = 7
#: Colours that the stylesheet has, and dashes that tell lines apart without them.
COLOURS = 6


def lines(
    title: str, series: Series, x_name: str, shown: Callable[[float], str] = "{:,.4g}".format, *, from_zero: bool = True
) -> h.Element | None:
    """A figure with a line for each series, and a table of its figures; None where there is nothing to show.

    Args:
        title: What is shown.
        series: By name.
        x_name: What the x axis counts.
        shown: How a value is written.
        from_zero: Whether the axis of values has 0 on it: of what is never near 0 nothing would be seen.
    """
    points = [point for each in series.values() for point in each]
    if not points:
        return None
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    ticks = _ticks(min(*ys, 0.0 if from_zero else ys[0]), max(ys))
    low, high, first, last = ticks[0], ticks[-1], min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) if last > first else 0.5
        up = (y - low) / (high - low)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    said = "; ".join(
        f"{name} from {shown(each[0][1])} to {shown(each[-1][1])}" for name, each in series.items() if each
    )
    drawing = h.svg(viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"{title}: {said}")[
        [_rule(place(first, tick)[1], shown(tick)) for tick in ticks],
        [_below(place(x, low)[0], f"{x:,.0f}") for x in _ticks_below(first, last)],
        h.Element("text")(x=(_LEFT + _WIDTH) // 2, y=_HEIGHT - 3, class_="tick", text_anchor="middle")[x_name],
        [_line(number, [place(*point) for point in each]) for number, each in enumerate(series.values()) if each],
    ]
    return h.figure(".chart")[h.figcaption[title], drawing, legend(series), _table(title, series, x_name, shown)]


def told_bar(share: float, of: str = "") -> h.Element:
    """A share, 0 to 1, as a bar under its number; ``of`` says what it is of."""
    return h.div(".share")[f"{share:.0%}{of}", bar(share)]


def bar(share: float, colour: int = 0) -> h.Element:
    """A bar of a share, 0 to 1, which a number beside it has to say, too."""
    width = f"{100 * min(max(share, 0), 1) + 0.0:.1f}"  # which is never -0.0
    return h.svg(".bar", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true", focusable="false")[
        h.rect(width="100", height="8", class_="ground"), h.rect(width=width, height="8", class_=f"fill{colour}")
    ]


def legend(names: Mapping[str, object]) -> h.Element | None:
    """Which line is whose; none where there is one."""
    if len(names) < 2:
        return None
    return h.ul(".legend")[
        [
            h.li[
                h.svg(viewBox="0 0 24 8", aria_hidden="true", focusable="false")[_line(number, [(0, 4), (24, 4)])], name
            ]
            for number, name in enumerate(names)
        ]
    ]


def _line(number: int, places: Sequence[tuple[float, float]]) -> h.Element:
    colour = f"line{number % COLOURS}"
    if len(places) == 1:
        ((x, y),) = places
        return h.circle(cx=_of(x), cy=_of(y), r="3", class_=f"dot {colour}")
    return h.polyline(points=" ".join(f"{_of(x)},{_of(y)}" for x, y in places), class_=colour)


def _rule(y: float, said: str) -> list[h.Element]:
    """A line across, and what it stands for."""
    line = h.Element("line")(x1=_LEFT, x2=_WIDTH - _RIGHT, y1=_of(y), y2=_of(y), class_="rule")
    return [line, h.Element("text")(x=_LEFT - 5, y=_of(y + 3.5), class_="tick", text_anchor="end")[said]]


def _below(x: float, said: str) -> h.Element:
    """A mark of the x axis, within the figure."""
    anchor = "start" if x <= _LEFT + 1 else "end" if x >= _WIDTH - _RIGHT - 1 else "middle"
    return h.Element("text")(x=_of(x), y=_HEIGHT - 18, class_="tick", text_anchor=anchor)[said]


def _ticks_below(first: float, last: float) -> list[float]:
    """Round whole numbers from ``first`` to ``last``, as many as there is room for."""
    ticks = [each for each in _ticks(first, last) if first <= each <= last and each == round(each)] or [first]
    room = (_WIDTH - _LEFT - _RIGHT) // (_CHAR * (len(f"{last:,.0f}") + 2))
    return ticks[:: max(-(-len(ticks) // room), 1)]


def _table(title: str, series: Series, x_name: str, shown: Callable[[float], str]) -> h.Element:
    xs = sorted({x for each in series.values() for x, _ in each})
    values = [dict(each) for each in series.values()]
    return h.details[
        h.summary["Figures", h.span(".unseen")[f" of {title}"]],
        h.div(".scroll", tabindex="0", role="region", aria_label=f"figures of {title}")[
            h.table[
                h.thead[h.tr[h.th(scope="col")[x_name], [h.th(".number", scope="col")[name] for name in series]]],
                h.tbody[
                    [
                        h.tr[
                            h.td[f"{x:,.0f}"],
                            [h.td(".number")[shown(each[x]) if x in each else ""] for each in values],
                        ]
                        for x in xs
                    ]
                ],
            ]
        ],
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers, of which the first is at most ``low`` and the last at least ``high``."""
    span = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-9)
    size = 10 ** math.floor(math.log10(span / 3))
    step = next(each for each in (size, 2 * size, 5 * size, 10 * size) if span / each <= 5)
    first, last = math.floor(low / step), math.ceil(max(high, low + span) / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _of(number: float) -> str:
    return f"{number:.1f}"
