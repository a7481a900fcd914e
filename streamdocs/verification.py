"""Whether a store still holds what its sealed windows refer to, and what to do where it does not."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streamdocs.errors import MissingGenerationError, some
from streamdocs.ledger import Ledger
from streamdocs.packing import Units
from streamdocs.run import Run
from streamdocs.sealing import Manifest, State
from streamdocs.shelf import Records
from streamdocs.store import Snapshot
from streamdocs.windows import Reseal, reseal_of, window_key

log = logging.getLogger(__name__)

#: The problem of a window whose generations are as long as they were, and read otherwise.
OTHER_TEXT = "other text than was read"


class Fault(NamedTuple):
    """A generation of a window that is not there as it was: ``missing``, ``damaged`` or ``another text``."""

    document: int
    round: int
    number: int
    what: str


class WindowReport(NamedTuple):
    """What was found of a sealed window.

    window, units, generations: Which, and how many it reads. faults: Generations that are not there as they were.
    problem: What is wrong with the manifest itself, or with the text of its generations as a whole; "" for nothing.
    """

    window: int
    units: int
    generations: int
    faults: list[Fault]
    problem: str

    def __str__(self) -> str:
        """The state of the window."""
        kinds = Counter(fault.what for fault in self.faults)
        counts = ", ".join(f"{count:,} {what}" for what, count in kinds.items())
        documents = some(sorted({fault.document for fault in self.faults}))
        return self.problem or (f"{counts} of documents {documents}" if counts else "intact")

    @property
    def intact(self) -> bool:
        """Whether the window replays as it was read."""
        return not self.faults and not self.problem


def verify(ledger: Ledger, first: int = 0) -> Iterator[WindowReport]:
    """Read all that the sealed windows refer to, from window ``first`` on."""
    reseals, ledger_id = ledger.reseals, ledger.run.ledger_id
    windows = range(first, ledger.count(reseals))
    with ledger.store.read() as snapshot:
        packed = (snapshot.get("windows", window_key(ledger_id, window, reseals)) for window in windows)
        records = Records(snapshot, ledger.scope)
        yield from check_windows(ledger.run, records, reseals, packed, first, None if first else State())


def check_windows(
    run: Run,
    records: Records,
    reseals: tuple[Reseal, ...],
    windows: Iterable[bytes | memoryview | None],
    first: int,
    state: State | None,
) -> Iterator[WindowReport]:
    """Check packed manifests, of windows ``first`` and on, and that a store holds what they refer to.

    Args:
        run, records, reseals: Whose they are, and what there is.
        windows: Packed manifests; None where there is none.
        first: The first of these windows.
        state: Before it; None where that is not known.
    """
    for window, packed in enumerate(windows, first):
        try:
            manifest = Manifest.unpack(packed or b"")
        except ValueError:
            yield WindowReport(window, 0, 0, [], "damaged" if packed else "missing")
            state = None
            continue
        problem = contradiction(run, manifest, window, expected_state(window, state, reseals))
        faults = [] if problem else find_faults(records, manifest)
        if not problem and not faults and not has_its_text(records, manifest):
            problem = OTHER_TEXT
        yield WindowReport(window, len(manifest.units.documents), len(manifest.units.rounds), faults, problem)
        state = manifest.after


def expected_state(window: int, previous: State | None, reseals: tuple[Reseal, ...]) -> State | None:
    """The state before a window: that after the one before, or what it was sealed anew from. None for unknown."""
    number = reseal_of(window, reseals)
    return reseals[number - 1].before if number and reseals[number - 1].window == window else previous


def find_faults(records: Records, manifest: Manifest) -> list[Fault]:
    """The generations of a window that are not there as they were."""
    units = manifest.units
    columns = (units.owners.tolist(), units.rounds.tolist(), units.numbers.tolist(), records.faults(units))
    return [Fault(*fault) for fault in sorted({at for at in zip(*columns, strict=True) if at[3]})]


def has_its_text(records: Records, manifest: Manifest) -> bool:
    """Whether the generations of a window are those that it was sealed with, to the last token."""
    return (
        manifest.units.extend(manifest.before.history, records.all_checksums(manifest.units)) == manifest.after.history
    )


def contradiction(run: Run, manifest: Manifest, window: int, expected: State | None) -> str:
    """In what a manifest contradicts itself, the run or the state before it; "" for nothing."""
    before, after, units = manifest.before, manifest.after, manifest.units
    begun = Units.of(before.carry).documents[: len(units.documents)]
    if expected not in (None, before) or (units.documents[: len(begun)] != begun).any():
        return "does not go on where the window before ended"
    if not (can_be(run, units) and possible(run, after)):
        return "refers to documents or generations that cannot be"
    rows = len(run.mixture.rows(window)[1])
    filled = rows - manifest.unit_rows
    counts = (before.window, after.window, after.filler_rows, after.synthetic_rows)
    if counts != (window, window + 1, before.filler_rows + filled, before.synthetic_rows + manifest.unit_rows):
        return "its counts contradict each other"
    # The last unit that it reads is the first that is left over, where the window ends within it.
    read = before.skip + manifest.unit_rows * run.mixture.max_seq_len
    begun_tokens = int(run.unit_tokens(Units.of(after.carry[:1])).sum()) if after.skip else 0
    if not 0 <= manifest.unit_rows <= rows or int(run.unit_tokens(units).sum()) - begun_tokens + after.skip != read:
        return "its units have another number of tokens than it reads"
    return ""


def can_be(run: Run, units: Units) -> bool:
    """Whether these units are of this corpus and recipe, and their columns of one length."""
    columns = (units.rounds, units.numbers, units.tokens)
    if len(units.documents) != len(units.counts) or {len(column) for column in columns} != {int(units.counts.sum())}:
        return False
    in_range = (units.documents < run.order.documents).all() and (units.numbers < run.recipe.round_size).all()
    return bool(in_range and (units.tokens > 0).all())


def possible(run: Run, state: State) -> bool:
    """Whether a state is of this corpus and recipe."""
    begun = int(run.unit_tokens(Units.of(state.carry[:1])).sum()) if can_be(run, Units.of(state.carry)) else -1
    return begun >= 0 and state.cursor <= run.order.documents and (state.skip == 0 or state.skip < begun)


def lost_generations(ledger: Ledger, snapshot: Snapshot, window: int) -> MissingGenerationError:
    """The error for a sealed window that refers to generations that are gone: which, and what can be done."""
    faults = find_faults(Records(snapshot, ledger.scope), ledger.manifest(window))
    return MissingGenerationError(
        f"window {window} was sealed with {describe_faults(faults)}, which store {ledger.store.location} no longer "
        "holds as they were. Restore the store from a copy; or start a run of another name; or seal anew from here: "
        f"`streamdocs ledger reseal RUN_YAML --from {window}`, or reseal=True when a state is loaded"
    )


def describe_faults(faults: list[Fault]) -> str:
    """How many generations of which documents."""
    documents = sorted({fault.document for fault in faults})
    return f"{len(faults):,} generations of {len(documents):,} documents ({some(documents)})"


def reseal_lost(ledger: Ledger, first: int) -> Reseal | None:
    """Seal a run anew from the first window on, of those from ``first`` on, that does not replay; None for all do.

    Any number of ranks may do this at once with the same state: one reseal is made, and all of them go by it.
    """
    known = ledger.reseals
    bad = next((report for report in verify(ledger, first) if not report.intact), None)
    if bad is None:
        return None
    reason = bad.problem or f"{describe_faults(bad.faults)} gone"
    reseal = ledger.reseal(bad.window, reason, known)
    log.warning("%s", reseal)
    return reseal
