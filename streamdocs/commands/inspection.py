"""``streamdocs inspect``: what a run reads, what exists of it, and where the tokens of one sequence come from."""

import os
from collections.abc import Iterable

from rich.table import Table

from streamdocs._base.console import plain_console, printable
from streamdocs.auditing.looking import check_sealed, open_run
from streamdocs.config import RunFile
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import StoreError, WaitTimeoutError
from streamdocs.generations.progress import read_tallies, total
from streamdocs.graph.walks import told
from streamdocs.ledger.meter import describe_run
from streamdocs.presets import MIXES, MixPreset
from streamdocs.reading.assembly import Segment
from streamdocs.recipes.keys import Generator
from streamdocs.run import Run
from streamdocs.streams import SyntheticStream

_TEXT_WIDTH = 48
#: Who writes, where that is not known yet.
_NOBODY = Generator(model="unknown")


def inspect_run(run_file: str | os.PathLike[str], position: int | None = None) -> None:
    """Print tables about a run; where there is no store yet, what it would read, before the error that says so.

    Raises:
        StreamdocsError: The run file, the corpus or the store cannot be read, or the position is not sealed yet.
    """
    console = plain_console()
    if preset := RunFile.load(run_file).mix.preset:
        console.print(told_preset(preset), highlight=False, soft_wrap=True)
    try:
        dataset = open_run(run_file)
    except WaitTimeoutError:
        dataset = open_run(run_file, _NOBODY)
        console.print(f"no server has written yet, and no generator is named: start `streamdocs-server {run_file}`")
    except StoreError:
        run = Run.of(RunFile.load(run_file), _NOBODY)
        console.print(describe_run(run, run.epoch_sequences, {}), highlight=False)
        raise
    console.print(dataset.describe(), highlight=False)
    for stream in dataset.run.synthetic if dataset.store else ():
        console.print(rounds_table(dataset, stream))
        ledger = dataset.ledgers.get(stream.name)
        if ledger and (sealed := ledger.count()):
            console.print(f"{sealed} windows of {dataset.run.mixture.window} sequences are sealed")
            for reseal in ledger.reseals:
                console.print(str(reseal), highlight=False)
    if position is not None:
        check_sealed(dataset.run, dataset.ledgers, position)
        segments = dataset.explain(position)
        console.print(segments_table(dataset, position, segments))
        for walk in dict.fromkeys(segment.walk for segment in segments if segment.walk):
            way = printable(told(walk.topics, walk.concepts))
            console.print(f"walk {walk.number} of edition {walk.edition}: {way}", highlight=False, soft_wrap=True)


def told_preset(name: MixPreset) -> str:
    """What a preset of the mix stands for, and by whom, in one line."""
    mix = MIXES[name]
    values = ", ".join(f"{field} {value} ({mix.source[field]})" for field, value in mix.values.items())
    return f"mix.preset {name}: {values}"


def rounds_table(dataset: StreamingMegadocDataset, stream: SyntheticStream) -> Table:
    """What each round of generation of a stream holds."""
    assert dataset.store is not None
    rounds = read_tallies(dataset.store, stream.scope)
    title = "generations" if len(dataset.run.synthetic) == 1 else f"generations of stream {stream.name}"
    table = Table("round", "documents", "cut", "generations", "tokens", "rejected", title=title)
    rows = [*((str(round), tally) for round, tally in sorted(rounds.items())), ("all", total(rounds.values()))]
    for name, tally in rows:
        rejected = ", ".join(f"{cause} {count:,}" for cause, count in tally.rejected.most_common())
        table.add_row(name, *(f"{n:,}" for n in (tally.items, tally.cut, tally.generations, tally.tokens)), rejected)
    return table


def segments_table(dataset: StreamingMegadocDataset, position: int, segments: Iterable[Segment]) -> Table:
    """The segments of a sequence, each with the beginning of its text."""
    sample = dataset[position]
    tokens, stream = sample["input_ids"].numpy(), dataset.run.streams[int(sample["stream"])]
    names = ("tokens", "kind", "style", "writer", "document", "round/n", "from", "text")
    table = Table(*names, title=f"sequence {position} ({stream.name})")
    for segment in segments:
        text = dataset.corpus.tokenizer.decode(tokens[segment.start : segment.stop])
        document = f"{segment.document} ({stream.corpus.document_digest(segment.document).hex()[:8]})"
        if segment.about is not None:
            document = f"{segment.about} in the place of {document}"
        if walk := segment.walk:
            document = f"walk {walk.number} of edition {walk.edition}: {', '.join(map(str, walk.documents))}"
        generation = "" if segment.generation is None else "{}/{}".format(*segment.generation)
        who = segment.style or "", segment.writer or ""
        where = (f"{segment.start}:{segment.stop}", segment.kind, *who, document, generation, str(segment.offset))
        table.add_row(*where, repr(text[:_TEXT_WIDTH])[1:-1])
    return table
