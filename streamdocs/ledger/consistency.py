"""Whether a manifest can be one of a stream: arithmetic on what it says, without a look at any generation."""

from streamdocs.ledger.manifest import Manifest, State
from streamdocs.schedule.packing import Units
from streamdocs.streams import SyntheticStream


def unpack_manifest(stream: SyntheticStream, packed: bytes, window: int) -> Manifest:
    """The manifest of a window of a stream.

    Raises:
        ValueError: It is none, or refers to what the stream does not have.
    """
    manifest = Manifest.unpack(packed)
    if problem := contradiction(stream, manifest, window, None):
        raise ValueError(problem)
    return manifest


def contradiction(stream: SyntheticStream, manifest: Manifest, window: int, expected: State | None) -> str:
    """In what a manifest contradicts itself, the stream or the state before it; "" for nothing."""
    before, after, units = manifest.before, manifest.after, manifest.units
    begun = Units.of(before.carry).documents[: len(units.documents)]
    if expected not in (None, before) or (units.documents[: len(begun)] != begun).any():
        return "does not go on where the window before ended"
    checked = len(manifest.checksums) in (0, len(units.rounds))
    if not (checked and can_be(stream, units) and possible(stream, after)):
        return "refers to documents or generations that cannot be"
    rows = len(stream.rows(window))
    filled = rows - manifest.unit_rows
    counts = (before.window, after.window, after.filler_rows, after.synthetic_rows)
    if counts != (window, window + 1, before.filler_rows + filled, before.synthetic_rows + manifest.unit_rows):
        return "its counts contradict each other"
    # The last unit that it reads is the first that is left over, where the window ends within it.
    read = before.skip + manifest.unit_rows * stream.mixture.max_seq_len
    begun_tokens = int(stream.unit_tokens(Units.of(after.carry[:1])).sum()) if after.skip else 0
    if not 0 <= manifest.unit_rows <= rows or int(stream.unit_tokens(units).sum()) - begun_tokens + after.skip != read:
        return "its units have another number of tokens than it reads"
    return ""


def can_be(stream: SyntheticStream, units: Units) -> bool:
    """Whether these units are of this corpus and recipe, and their columns of one length."""
    columns = (units.rounds, units.numbers, units.tokens)
    if len(units.documents) != len(units.counts) or {len(column) for column in columns} != {int(units.counts.sum())}:
        return False
    in_range = (units.documents < len(stream.corpus.documents)).all() and (
        units.numbers < stream.recipe.round_size
    ).all()
    return bool(in_range and (units.tokens > 0).all())


def possible(stream: SyntheticStream, state: State) -> bool:
    """Whether a state is of this corpus and recipe."""
    begun = int(stream.unit_tokens(Units.of(state.carry[:1])).sum()) if can_be(stream, Units.of(state.carry)) else -1
    return begun >= 0 and state.cursor <= stream.order.sources and (state.skip == 0 or state.skip < begun)
