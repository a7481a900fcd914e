"""Whether a store still holds what its sealed windows refer to, and what to do where it does not."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streamdocs.errors import MissingGenerationError, some
from streamdocs.generations.records import Records
from streamdocs.ledger.consistency import contradiction
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.windows import Reseal, reseal_of, window_key
from streamdocs.store import Snapshot
from streamdocs.streams import SyntheticStream

log = logging.getLogger(__name__)

#: The problem of a window whose generations are as long as they were, and read otherwise.
OTHER_TEXT = "other text than was read"
#: What is said of a generation whose round left the store since no checkpoint needed it.
RETIRED = "retired"


class Fault(NamedTuple):
    """A generation of a window that is not there as it was: ``missing``, ``damaged``, ``another text`` or ``retired``.

    One that retired is gone by design, whatever another run may have written in its place since.
    """

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
        """Whether the window lacks nothing but what retired by design."""
        return not self.problem and all(fault.what == RETIRED for fault in self.faults)

    @property
    def replays(self) -> bool:
        """Whether it can be read as it was."""
        return not self.faults and not self.problem


def verify(ledger: Ledger, first: int = 0) -> Iterator[WindowReport]:
    """Read all that the sealed windows refer to, from window ``first`` on."""
    reseals, ledger_id = ledger.reseals, ledger.id
    windows = range(first, ledger.count(reseals))
    with ledger.store.read() as snapshot:
        packed = (snapshot.get("windows", window_key(ledger_id, window, reseals)) for window in windows)
        records = Records(snapshot, ledger.scope)
        state, retired = None if first else State(), ledger.retired_rounds
        yield from check_windows(ledger.stream, records, reseals, packed, first, state, retired)


def check_windows(
    stream: SyntheticStream,
    records: Records,
    reseals: tuple[Reseal, ...],
    windows: Iterable[bytes | memoryview | None],
    first: int,
    state: State | None,
    retired: int = 0,
) -> Iterator[WindowReport]:
    """Check packed manifests, of windows ``first`` and on, and that a store holds what they refer to.

    Args:
        stream, records, reseals: Whose they are, and what there is.
        windows: Packed manifests; None where there is none.
        first: The first of these windows.
        state: Before it; None where that is not known.
        retired: Rounds that left the store.
    """
    for window, packed in enumerate(windows, first):
        try:
            manifest = Manifest.unpack(packed or b"")
        except ValueError:
            yield WindowReport(window, 0, 0, [], "damaged" if packed else "missing")
            state = None
            continue
        problem = contradiction(stream, manifest, window, expected_state(window, state, reseals))
        faults = [] if problem else find_faults(records, manifest, retired)
        if not problem and not faults and not has_its_text(records, manifest):
            problem = OTHER_TEXT
        yield WindowReport(window, len(manifest.units.documents), len(manifest.units.rounds), faults, problem)
        state = manifest.after


def expected_state(window: int, previous: State | None, reseals: tuple[Reseal, ...]) -> State | None:
    """The state before a window: that after the one before, or what it was sealed anew from. None for unknown."""
    number = reseal_of(window, reseals)
    return reseals[number - 1].before if number and reseals[number - 1].window == window else previous


def find_faults(records: Records, manifest: Manifest, retired: int = 0) -> list[Fault]:
    """The generations of a window that are not there as they were; the first ``retired`` rounds left the store."""
    units = manifest.units
    what = records.faults(units, manifest.checksums)
    columns = (units.owners.tolist(), units.rounds.tolist(), units.numbers.tolist(), what)
    faults = (Fault(*fault) for fault in sorted({at for at in zip(*columns, strict=True) if at[3]}))
    return [fault._replace(what=RETIRED) if fault.round < retired else fault for fault in faults]


def has_its_text(records: Records, manifest: Manifest) -> bool:
    """Whether the generations of a window are those that it was sealed with, to the last token."""
    return (
        manifest.units.extend(manifest.before.history, records.all_checksums(manifest.units)) == manifest.after.history
    )


def lost_generations(ledger: Ledger, snapshot: Snapshot, window: int) -> MissingGenerationError:
    """The error for a sealed window that refers to generations that are gone: which, and what can be done."""
    faults = find_faults(Records(snapshot, ledger.scope), ledger.manifest(window), ledger.retired_rounds)
    return MissingGenerationError(
        f"window {window} was sealed with {describe_faults(faults)}, which store {ledger.store.location} no longer "
        "holds as they were. Restore the store from a copy; or start a run of another name; or seal anew from here: "
        f"`streamdocs ledger reseal RUN_YAML --from {window}`, or reseal=True when a state is loaded"
    )


def describe_faults(faults: list[Fault]) -> str:
    """How many generations of which documents."""
    documents = sorted({fault.document for fault in faults})
    return f"{len(faults):,} generations of {len(documents):,} documents ({some(documents)})"


def reseal_lost(ledger: Ledger, first: int, *, retired: bool = False) -> Reseal | None:
    """Seal a run anew from the first window on, of those from ``first`` on, that does not replay; None for all do.

    Any number of ranks may do this at once with the same state: one reseal is made, and all of them go by it.

    Args:
        ledger, first: Of which run, and from where on its windows are wanted.
        retired: Also for what retired by design.
    """
    known = ledger.reseals
    bad = next((report for report in verify(ledger, first) if not (report.replays if retired else report.intact)), None)
    if bad is None:
        return None
    reason = bad.problem or f"{describe_faults(bad.faults)} gone"
    reseal = ledger.reseal(bad.window, reason, known)
    log.warning("%s", reseal)
    return reseal
