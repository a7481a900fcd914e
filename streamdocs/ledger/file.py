"""A ledger as one small file to keep beside a checkpoint: which run it is, and its sealed windows."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import msgpack
import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from streamdocs._base.hashing import canonical, digest128
from streamdocs._base.unfinished import write_whole
from streamdocs._base.untrusted import unpack
from streamdocs.errors import LedgerFileError, StoreError, some
from streamdocs.generations.records import Records
from streamdocs.ledger.consistency import possible
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.verification import OTHER_TEXT, WindowReport, check_windows
from streamdocs.ledger.windows import Reseal, add_reseals
from streamdocs.recipes.keys import Generator
from streamdocs.run import check_fingerprint, ledger_id
from streamdocs.steering.decision import Decision

#: What a file begins with. A checksum of 16 bytes follows, then msgpack, in which every window is compressed.
MAGIC = b"sdl1"
_HEADER_BYTES = len(MAGIC) + 16
_MOST_BYTES = 1 << 31

#: Columns of Units, in the words of a comparison.
_UNIT_COLUMNS = {
    "documents": "documents",
    "generations of a unit": "counts",
    "rounds": "rounds",
    "numbers": "numbers",
    "token counts": "tokens",
}


class LedgerFile(BaseModel):
    """The ledger of one stream of a run, apart from any store.

    A file is data from outside: it is checked before it is used.

    Args:
        version: Of this format.
        generator: Who wrote; a run file may leave that to the store.
        fingerprint: Of the run, by field.
        stream: Which of its streams; "" where it has one that is sealed.
        reseals: Every time that it was sealed anew, packed.
        windows: Its sealed windows from 0 on, packed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    generator: Generator
    fingerprint: dict[str, str | int]
    stream: str = ""
    reseals: tuple[bytes, ...]
    windows: tuple[bytes, ...]

    @field_validator("fingerprint")
    @classmethod
    def _has_windows(cls, fingerprint: dict[str, str | int]) -> dict[str, str | int]:
        size = fingerprint.get("window")
        if not isinstance(size, int) or size < 1:
            raise ValueError("it does not say how many sequences a window has")
        return fingerprint

    @property
    def ledger_id(self) -> bytes:
        """16 bytes, those of the stream of the run."""
        return ledger_id(self.fingerprint, self.stream)

    @property
    def digest(self) -> str:
        """Of the run and all that it has sealed, 32 hexadecimal digits."""
        return digest128(self.ledger_id + canonical([self.reseals, self.windows])).hex()

    def save(self, path: Path) -> None:
        """Write the file; it appears when it is complete.

        Raises:
            LedgerFileError: It cannot be written; a file that was there before stays.
        """
        said = {name: value for name, value in self if name != "stream" or value}
        fields = {**said, "generator": self.generator.fields, "ledger": self.ledger_id, "digest": self.digest}
        body = msgpack.packb(fields)
        try:
            write_whole(path, MAGIC + digest128(body) + body)
        except OSError as error:
            raise LedgerFileError(
                f"{path} cannot be written ({error}): free some space, or pick another place"
            ) from error

    @classmethod
    def load(cls, path: Path) -> "LedgerFile":
        """Read a file.

        Raises:
            LedgerFileError: It cannot be read, is damaged, or is no exported ledger.
        """
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"larger than {_MOST_BYTES} bytes")
            data = path.read_bytes()
            body = data[_HEADER_BYTES:]
            if data[:_HEADER_BYTES] != MAGIC + digest128(body):
                raise ValueError("damaged, or no exported ledger")
            fields = unpack(body)
            named = fields.pop("ledger"), fields.pop("digest")
            file = cls.model_validate(fields)
            if named != (file.ledger_id, file.digest):
                raise ValueError("it is not the ledger that it says")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LedgerFileError(f"{path} cannot be read ({error}): export the ledger again") from error
        return file


def is_ledger_file(path: Path) -> bool:
    """Whether a file begins as an exported ledger does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def export_ledger(ledger: Ledger) -> LedgerFile:
    """The ledger of a run as it is now.

    Raises:
        StoreError: A window is missing or damaged.
    """
    reseals = ledger.reseals
    windows = [ledger.read_window(window, reseals)[0] for window in range(ledger.count(reseals))]
    return LedgerFile(
        generator=ledger.scope.generator,
        fingerprint=ledger.run.fingerprint,
        stream=ledger.run.ledger_name(ledger.stream),
        reseals=tuple(reseal.pack() for reseal in reseals),
        windows=tuple(windows),
    )


def import_ledger(ledger: Ledger, file: LedgerFile) -> list[WindowReport]:
    """Put the windows of a file into a store, beside what it holds. Those that do not replay there yet.

    Raises:
        FingerprintError: It is another run's; the message names each field that differs.
        LedgerFileError: It contradicts itself, or what the store holds; the message names the first such window.
    """
    check_fingerprint(file.fingerprint, ledger.run.fingerprint, "file")
    if file.stream != ledger.run.ledger_name(ledger.stream):
        raise LedgerFileError(f"the file is of stream {file.stream}, not of {ledger.stream.name}")
    try:
        reseals = tuple(map(Reseal.unpack, file.reseals))
        if not all(
            possible(ledger.stream, reseal.before) and reseal.before.window == reseal.window for reseal in reseals
        ):
            raise ValueError("it begins with documents or generations that cannot be")
    except (ValueError, TypeError) as error:
        raise LedgerFileError(f"a reseal of the file cannot be read ({error}): export the ledger again") from error
    ours = ledger.reseals
    for window, packed in enumerate(file.windows):
        _check_same(ledger, window, ledger.sealed(window), packed)
    decisions = _decisions(ledger, file)
    if reseals[: len(ours)] != ours:
        raise LedgerFileError(f"store {ledger.store.location} was sealed anew where the file was not: {ours[-1]}")
    with ledger.store.read() as snapshot:
        records = Records(snapshot, ledger.scope)
        reports = []
        for report in check_windows(ledger.stream, records, reseals, file.windows, 0, State()):
            _check_report(ledger, report)  # at once: the rest may take long, and is for nothing
            reports.append(report)
    for decision in decisions:
        assert ledger.run.decisions
        _check_decision(ledger, ledger.run.decisions.adopt(decision), decision)
    add_reseals(ledger.store, ledger.id, ours, reseals[len(ours) :])
    for window, packed in enumerate(file.windows):  # one by one: whoever seals meanwhile goes on from what is there
        _check_same(ledger, window, ledger.publish(window, packed, reseals) or b"", packed)
    return [report for report in reports if not report.replays]


def _decisions(ledger: Ledger, file: LedgerFile) -> list[Decision]:
    """The decisions that a file was sealed with, which are taken to be made from now on."""
    if (made := ledger.run.decisions) is None:
        return []
    try:
        decisions = [Decision.unpack(Manifest.unpack(packed).decision) for packed in file.windows]
        for decision in decisions:
            with suppress(StoreError):  # one that is damaged is replaced
                _check_decision(ledger, made.sealed(decision.window), decision)
        made.assume(decisions)
    except ValueError as error:
        raise LedgerFileError(f"a decision of the file cannot be read ({error}): export the ledger again") from error
    return decisions


def _check_decision(ledger: Ledger, ours: Decision | None, theirs: Decision) -> None:
    if ours and ours.digest != theirs.digest:
        raise LedgerFileError(
            f"window {theirs.window} is the first on which store {ledger.store.location} and the file decided "
            f"differently ({ours.difference(theirs)}). The store keeps its own; import into another store"
        )


def _check_same(ledger: Ledger, window: int, ours: bytes | None, theirs: bytes) -> None:
    if ours not in (None, theirs):
        what = "; ".join(window_differences(ours or b"", theirs))
        raise LedgerFileError(
            f"window {window} is the first that differs between store {ledger.store.location} and the file ({what}). "
            "The store keeps its own; import into another store"
        )


def _check_report(ledger: Ledger, report: WindowReport) -> None:
    other = sorted({fault.document for fault in report.faults if fault.what == "another text"})
    if other or report.problem == OTHER_TEXT:
        which = f"documents {some(other)}" if other else "its documents"
        raise LedgerFileError(
            f"window {report.window} was sealed with other generations of {which} than store {ledger.store.location} "
            "holds: import into a copy of the store that it was exported from"
        )
    if report.problem:
        raise LedgerFileError(f"window {report.window} of the file: {report.problem}; export the ledger again")


def differences(a: LedgerFile, b: LedgerFile) -> list[str]:
    """Where two ledgers part, a line for each thing that differs; empty where they are the same."""
    fields, others = a.fingerprint, b.fingerprint
    names = sorted(name for name in {*fields, *others} if fields.get(name) != others.get(name))
    found = [f"{name}: {fields.get(name)} and {others.get(name)}" for name in names]
    if found:
        return ["they are two runs:", *found]
    if a.stream != b.stream:
        return [f"they are of two streams of a run, {a.stream} and {b.stream}"]
    size = int(a.fingerprint["window"])
    for window, (ours, theirs) in enumerate(zip_longest(a.windows, b.windows)):
        if ours is None or theirs is None:
            most = max(len(a.windows), len(b.windows))
            return [f"the first {window} windows are the same; only one of them has windows {window} to {most - 1}"]
        if ours != theirs:
            where = f"they part in window {window} (positions {window * size}:{(window + 1) * size}):"
            return [where, *window_differences(ours, theirs)]
    return [] if a.reseals == b.reseals else ["one of them is to be sealed anew from its end on"]


def window_differences(a: bytes, b: bytes) -> Iterator[str]:
    """In what two packed windows differ."""
    try:
        ours, theirs = Manifest.unpack(a), Manifest.unpack(b)
    except ValueError as error:
        yield str(error)
        return
    if ours.decision != theirs.decision:
        yield f"the decision on its shares: {_decisions_differ(ours, theirs)}"
    if ours.before != theirs.before:
        yield "what came before: one of them was sealed anew here"
    if len(ours.units.documents) != len(theirs.units.documents):
        yield f"units: {len(ours.units.documents)} and {len(theirs.units.documents)}"
    for what, name in _UNIT_COLUMNS.items():
        x, y = getattr(ours.units, name), getattr(theirs.units, name)
        shared = min(len(x), len(y))
        (at,) = np.nonzero(x[:shared] != y[:shared])
        if len(at):
            yield f"{what}: {len(at):,} of {shared:,}, first {what} {at[0]}: {x[at[0]]} and {y[at[0]]}"
    if ours.watermark != theirs.watermark:
        yield f"what existed when it was sealed: {ours.watermark:,} and {theirs.watermark:,} documents x rounds"
    if ours.after.history != theirs.after.history:
        yield "the text of its generations, or of those before"


def _decisions_differ(ours: Manifest, theirs: Manifest) -> str:
    """In what two decisions differ, one of which may not be there, or not be readable."""
    try:
        a, b = (Decision.unpack(each.decision) if each.decision else None for each in (ours, theirs))
    except ValueError as error:
        return f"one that cannot be read ({error})"
    return a.difference(b) if a and b else f"{a or 'none'} and {b or 'none'}"
