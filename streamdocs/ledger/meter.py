"""What a run will read, in numbers, before its first step; and what it has mixed until a window, for metrics."""

from collections.abc import Mapping

from streamdocs._base.caching import remember
from streamdocs.generations.progress import Tally, block_key, total
from streamdocs.ledger.manifest import Manifest
from streamdocs.run import Run
from streamdocs.store import Store
from streamdocs.streams import SyntheticStream

#: Blocks of which the tokens are added up: with hundreds of thousands, every rank would stand for half a minute.
_MOST_BLOCKS = 256
#: Said once, after all streams.
_BEHIND = "  while generation is behind, what exists is read over and over; mix.max_reuse limits that"


def describe_run(run: Run, epoch_sequences: int, stored: Mapping[str, tuple[Tally, bool]]) -> str:
    """Sequences, tokens and passes of an epoch, and how often each generation will be read at this mix.

    Args:
        run: The run.
        epoch_sequences: Sequences an epoch.
        stored: By synthetic stream, generations that exist, from whose mean length the others' is estimated, and
            whether no others exist.
    """
    length = run.mixture.max_seq_len
    lines = [f"an epoch reads {epoch_sequences:,} sequences of {length:,} tokens:"]
    for web in run.web:
        tokens = run.mixture.before(web.number, epoch_sequences) * length
        passes = f"{tokens / web.tokens:.2f} passes over {web.sources}"
        lines.append(f"  {web.name} {tokens:,} tokens: {passes}")
    for stream in run.synthetic:
        lines += _describe(stream, epoch_sequences, *stored.get(stream.name, (Tally(), True)))
    hint = [_BEHIND] if _BEHIND in lines else []
    return "\n".join([*(line for line in lines if line != _BEHIND), *hint])


def _describe(stream: SyntheticStream, epoch_sequences: int, stored: Tally, all_stored: bool) -> list[str]:
    """The same of one synthetic stream, in lines."""
    mixture, recipe, documents = stream.mixture, stream.recipe, len(stream.sources)
    synthetic = mixture.begun_before(stream.number, epoch_sequences) * mixture.max_seq_len
    if not synthetic:
        return []
    wanted = documents * recipe.generations
    mean = stored.tokens / stored.generations if stored.generations else recipe.max_tokens
    reads = synthetic / (wanted * mean + (stream.filler.tokens if recipe.reads_documents else 0))
    which = "" if stream.sources.chosen is None else f"of {stream.sources} "
    known = "the mean so far" if stored.generations else "the most that is asked for"
    share = float(mixture.shares[stream.number].fraction)
    lines = [
        f"  {stream.name} {synthetic:,} tokens, {share:.2%}: {recipe.name} of {wanted:,} generations "
        f"{which}({'' if all_stored else 'more than '}{stored.generations:,} exist)",
        f"  once all exist, each generation is read {reads:.2f} times at {mean:,.0f} tokens ({known})",
    ]
    if stored.items < documents * recipe.cycle and all_stored:
        first = mixture.begun_before(stream.number, mixture.window) * mixture.max_seq_len
        now = f"{first / stored.tokens:,.1f} times each of what exists now" if stored.tokens else "nothing exists yet"
        lines += [f"  the first window reads {first:,} {stream.name} tokens: {now}", _BEHIND]
    return lines


class MixtureMeter:
    """Measures what was mixed of a stream, and how much of what there was.

    Args:
        stream: The stream.
        store: Where its generations are.
    """

    def __init__(self, stream: SyntheticStream, store: Store) -> None:
        self._scope = stream.scope
        self._mixture = stream.mixture
        self._store = store
        self._stored = remember(self._stored_tokens, 1)

    def until(self, manifest: Manifest) -> dict[str, float]:
        """What was mixed until the end of a window: see ``StreamingMegadocDataset.mixed_until``."""
        after, order = manifest.after, self._scope.generation_order
        sequences = after.window * self._mixture.window
        wanted = order.wanted_items(after.sweep, after.cursor)
        stored = self._stored(manifest.watermark)
        return {
            "synthetic_fraction": after.synthetic_rows / sequences,
            "generations_per_document": order.generations_per_source(manifest.watermark),
            "reuse": after.generated_tokens / stored if stored else 0.0,
            "lead": float(manifest.watermark - wanted),
        }

    def _stored_tokens(self, watermark: int) -> float:
        """Tokens of the generations that existed at a watermark; where they are many, as some of them say."""
        blocks = self._scope.generation_order.block_of_item(max(watermark - 1, 0)) + 1
        keys = [block_key(self._scope, number) for number in range(0, blocks, -(-blocks // _MOST_BLOCKS))]
        with self._store.read() as snapshot:
            found = total(Tally.unpack(packed) for key in keys if (packed := snapshot.get("blocks", key)))
        return found.tokens / found.items * watermark if found.items else 0.0
