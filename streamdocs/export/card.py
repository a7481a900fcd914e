"""The card of an exported dataset: recipe, models, counts and licences, in Markdown, as the Hugging Face Hub has it."""

import json
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

import yaml

from streamdocs.export.formats import FORMATS
from streamdocs.export.job import Exported
from streamdocs.export.rows import Rows
from streamdocs.generations.progress import read_tallies, total
from streamdocs.run import Run

_COLUMNS = {
    "position": "of the sequence in the run",
    "synthetic": "whether it is made of generations",
    "stream": "the stream of the run that it belongs to",
    "input_ids": "tokens",
    "text": "the same as text; a sequence may begin or end within a character",
    "segments": "where each stretch of it comes from: its kind, its tokens (`start`, `stop`), the document (number and "
    "digest of its text), the first token there (`offset`); of a generation its key, round, number, style and writer",
    "document": "number of the document in its corpus",
    "digest": "of the document's text",
    "about": "the document that it is about, where it stands in the place of another one",
    "walk": "the walk through a graph of concepts that it is about, as JSON",
    "round": "of generation",
    "number": "in its round",
    "style": "the program, or the recipe, by which it was written",
    "writer": "the models that wrote it",
    "key": "of the item in the store: a digest of all that could change the text",
    "source": "the text of the document",
}


class Licences(NamedTuple):
    """Licences as the user says them; "" where nobody did. dataset: Of all of it. documents, models: Of its parts."""

    dataset: str = ""
    documents: str = ""
    models: str = ""


def make_card(rows: Rows, exported: Exported, licences: Licences) -> str:
    """The card of an export."""
    run, counts = rows.dataset.run, exported.counts
    generated = exported.identity["what"] == "generated"
    what = "Generations" if generated else "Sequences as training reads them"
    parts = [
        f"---\n{_front(exported, licences)}---\n\n# {what}\n",
        f"{counts['rows']:,} {rows.unit}, {counts['tokens']:,} tokens of {run.corpus.index['tokenizer']['name']}, "
        f"exported by streamdocs {version('streamdocs')}." + _which(exported) + "\n",
        "## Counts\n",
        _table(("", ""), ((name, f"{count:,}") for name, count in sorted(counts.items()))),
        "## Recipes\n",
        _table(("stream", "share", "recipe"), _recipes(run)),
        "## Models\n",
        _table(("writer", "model", "sampling"), _models(run)),
        "## Licences\n",
        _table(("of", "licence"), _licences(run, licences)),
        "## Columns\n",
        _table(("column", ""), ((f"`{name}`", _COLUMNS[name]) for name in rows.schema.names)),
    ]
    if rejected := _rejected(rows):
        parts += ["## Rejected\n", _table(("cause", "generations"), ((c, f"{n:,}") for c, n in rejected.most_common()))]
    return "\n".join(parts)


def _front(exported: Exported, licences: Licences) -> str:
    rows = exported.counts["rows"]
    sizes = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    found: dict[str, Any] = {
        "license": licences.dataset or "unknown",
        "task_categories": ["text-generation"],
        "tags": ["streamdocs", *(["synthetic"] if exported.identity["what"] == "generated" else [])],
        "size_categories": [next((name for most, name in sizes if rows < most), "n>1M")],
    }
    if data := FORMATS[exported.format].data:
        found["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": data}]}]
    return yaml.safe_dump(found, sort_keys=False)


def _which(exported: Exported) -> str:
    if positions := exported.identity.get("positions"):
        return (
            f" These are positions {positions[0]:,} to {positions[1] - 1:,} of the run; windows are sealed whole, so "
            "that training may have read less."
        )
    items = ", ".join(f"{count:,} of {stream}" for stream, count in exported.identity["resolved"].items())
    return f" These are what was accepted of the first {items} (document, round) items."


def _recipes(run: Run) -> Iterable[tuple[str, ...]]:
    for stream in run.streams:
        recipe = stream.recipe
        fields = {name: value for name, value in recipe.identity.items() if name not in ("prompt", "tasks")}
        told = f"{recipe.name} {json.dumps(fields, default=str)}" if stream in run.synthetic else "web text"
        yield stream.name, str(run.mixture.shares[stream.number].fraction), f"{told}, of {stream.sources}"


def _models(run: Run) -> Iterable[tuple[str, ...]]:
    for name, writer in (run.writers or {}).items():
        sampling = {k: v for k, v in writer.fields.items() if k not in ("model", "revision") and v is not None}
        yield name or "default", f"{writer.model} {writer.revision}".strip(), json.dumps(sampling, default=str)


def _licences(run: Run, licences: Licences) -> Iterable[tuple[str, str]]:
    yield "this dataset", licences.dataset or "not said"
    yield "the documents that it is made of", licences.documents or "not said"
    models = ", ".join(dict.fromkeys(writer.model for writer in (run.writers or {}).values()))
    if models:
        yield f"what {models} may be used for", licences.models or "not said"


def _rejected(rows: Rows) -> Counter[str]:
    run, store = rows.dataset.run, rows.dataset.store
    scopes = [stream.scope for stream in run.synthetic] if store else []
    return total(tally for scope in scopes if store for tally in read_tallies(store, scope).values()).rejected


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
