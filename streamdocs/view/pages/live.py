"""The page of a run: how far it is and how it came there."""

import time
from collections import Counter
from datetime import UTC, datetime

import htpy as h

from streamdocs.generations.newest import Newest
from streamdocs.view.charts import Series, bar, lines, told_bar
from streamdocs.view.facts import Course, Now, StreamNow
from streamdocs.view.pages.frame import count, figures, link, table

#: Seconds between two looks of a page that is left open.
AGAIN = 4
#: As long as a server's signs of life may be apart.
_ALIVE_SECONDS = 60.0


def live(now: Now | None, course: Course | None, newest: Newest | None, about: str) -> list[h.Node]:
    """The page; what is None is still being counted.

    Args:
        now, course, newest: What is known.
        about: What an epoch reads, in lines.
    """
    if now and course and any(each.sealed for each in now.streams) and not any(course.mixed.values()):
        course = None  # it is older than what stands above it
    if now and newest and any(each.all.items for each in now.streams) and not (newest.diversity or newest.rejected):
        newest = None
    whole = now is None or now.whole
    return [
        h.div("#live", data_again=AGAIN)[
            h.p(".asof")[f"As of {_clock(now.at)}" if now else "Being counted"],
            None if whole else h.p(".note")["Exported ledgers say what was sealed, and not how it was written."],
            [_stream(each, now.at, whole=whole) for each in now.streams] if now else None,
            _shares(now) if now else None,
            _course(course, whole=whole) if course else h.p["How it came there is being counted."],
            _rejected(now) if now and whole else None,
            _newest(newest) if whole else None,
            whole
            and h.section[
                h.h2["What an epoch reads"], h.pre(".plain", tabindex="0", role="region", aria_label="an epoch")[about]
            ],
        ],
    ]


def _stream(now: StreamNow, at: float, *, whole: bool) -> h.Element:
    held = now.all
    written: dict[str, h.Node] = {
        "Re-use": "nothing is sealed yet" if now.reuse is None else f"{now.reuse:.2f} times each token",
        "Tokens a second": "known at the next look" if now.rate is None else f"{now.rate:,.0f}",
        "Written so far": f"{count(held.generations, 'generation')}, {held.tokens:,} tokens",
        "Servers": _servers(now, at),
        "Waiting": "training waits for generations" if now.waiting else "nobody waits",
    }
    of = f"of {now.items:,}, {now.written / now.items:.1%}" if now.items else "of endless rounds"
    return h.section(".stream")[
        h.h2[now.name, " ", h.small[now.recipe]],
        bar(now.written / now.items) if now.items else None,
        figures(
            {
                "Written": f"{now.written:,} documents × rounds {of}",
                "Generations a document": f"{now.generations:.2f}",
                "Lead over training": f"{now.lead:+,} documents × rounds",
                "Sealed": count(now.sealed, "window"),
                **(written if whole else {}),
            }
        ),
        _rounds(now) if whole else None,
    ]


def _servers(now: StreamNow, at: float) -> str:
    alive = [name for name, heard in now.servers.items() if at - heard <= _ALIVE_SECONDS]
    if alive:
        return f"{count(len(alive), 'server')} at work: {', '.join(alive)}"
    if not now.servers:
        return "none at work"
    last = _clock(max(now.servers.values()))
    return f"none at work; one that did not say that it ended was last heard of at {last}"


def _rounds(now: StreamNow) -> h.Element:
    columns = ("Round", "Documents", "Cut", "Generations", "Tokens", "Rejected")
    rows = [
        (
            *(f"{n:,}" for n in (round, tally.items, tally.cut, tally.generations, tally.tokens)),
            f"{tally.rejected.total():,}",
        )
        for round, tally in now.rounds.items()
    ]
    return h.details[
        h.summary["Rounds", h.span(".unseen")[f" of {now.name}"]],
        table(f"rounds of {now.name}", columns, rows, columns[1:]),
    ]


def _shares(now: Now) -> h.Element:
    rows = [
        (each.name, each.share, f"{each.asked:,}", f"{each.read:,}", _part(each.read, now.positions))
        for each in now.shares
    ]
    columns = ("Stream", "Share", "Sequences due", "Of the stream", "Read")
    return h.section[
        h.h2["Shares"],
        table(f"sequences of the first {now.positions:,} positions", columns, rows, columns[2:]),
        h.p(".note")["What is due and not of the stream is web text in its place."],
    ]


def _part(some: int, of: int) -> str:
    return f"{some / of:.2%}" if of else "–"


def _course(course: Course, *, whole: bool) -> h.Element:
    def of(value: int) -> Series:
        found = {name: [(point.window, point[value]) for point in each] for name, each in course.mixed.items()}
        return {name: each for name, each in found.items() if each}

    drawn = [
        lines("Generations a document", of(1), "window", "{:,.2f}".format),
        lines("Lead over training, documents × rounds", of(2), "window", "{:,.0f}".format),
        lines("Re-use, times each token", of(3) if whole else {}, "window", "{:,.2f}".format),
        lines("Shares of the synthetic part", course.shares, "window", "{:.0%}".format),
        lines("Loss, nats a token", course.losses, "window", "{:,.3f}".format, from_zero=False),
        lines(
            "Loss of what is held out",
            {"held out": [(each.position, each.loss) for each in course.held_out]} if course.held_out else {},
            "position",
            "{:,.3f}".format,
            from_zero=False,
        ),
    ]
    there = [each for each in drawn if each is not None]
    return h.section[
        h.h2["Window by window"],
        h.div(".charts")[there] if there else h.p["No window is sealed yet."],
        None if course.losses else h.p(".note")["Training reported no losses."],
    ]


def _rejected(now: Now) -> h.Element:
    causes = {each.name: each.all.rejected for each in now.streams}
    rows = [
        (
            link("/rejected", cause, stream=name, cause=cause),
            name,
            f"{n:,}",
            told_bar(n / found.total(), f" of {found.total():,}"),
        )
        for name, found in causes.items()
        for cause, n in found.most_common()
    ]
    if not rows:
        return h.section[h.h2["Rejected"], h.p["Nothing was rejected."]]
    columns = ("Cause", "Stream", "Generations", "Part of its stream's")
    return h.section[h.h2["Rejected"], table("rejected so far, by cause", columns, rows, columns[2:3])]


def _newest(newest: Newest | None) -> h.Element:
    if newest is None:
        return h.p["How different the generations are is being counted."]
    if not newest.diversity and not newest.rejected:
        return h.section[h.h2["Styles and writers"], h.p["Nothing is written yet."]]
    columns = (
        "Style",
        "Writer",
        "Stream",
        "Texts",
        "Repeated",
        "Copied",
        "Alike",
        "Distinct",
        "Characters",
        "Rejected",
    )
    rows = []
    for group in sorted({*newest.diversity, *newest.rejected}):
        found, rejected = newest.diversity.get(group), newest.rejected.get(group, Counter())
        parts = (found.repeated, found.copied, found.alike, found.distinct) if found else (None,) * 4
        rows.append(
            (
                *(group.style, group.writer, group.stream, f"{found.texts:,}" if found else "0"),
                *("–" if part is None else f"{part:.1%}" for part in parts),
                f"{found.length_mean:,.0f} ± {found.length_spread:,.0f}" if found else "–",
                ", ".join(f"{cause} {n:,}" for cause, n in rejected.most_common()) or "none",
            )
        )
    collapsed = {group: said for group, found in newest.diversity.items() if (said := group.collapses(found))}
    return h.section[
        h.h2["Styles and writers"],
        table("the newest thousand texts of each, and what was rejected beside them", columns, rows, columns[3:9]),
        h.ul(".alarm")[
            [h.li[f"{group} has collapsed: {', '.join(said.values())}"] for group, said in collapsed.items()]
        ]
        if collapsed
        else None,
    ]


def _clock(seconds: float) -> str:
    spec = "%H:%M:%S" if time.time() - seconds < 86_400 else "%Y-%m-%d %H:%M:%S"
    return f"{datetime.fromtimestamp(seconds, UTC):{spec}} UTC"
