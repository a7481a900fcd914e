"""What was generated for a run, as rows: a generation each, with its text, its tokens and how it came to be."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.export.rows import Slice, told_walk
from streamdocs.generations.encoding import TokenRecord, decode_text, decode_tokens
from streamdocs.generations.progress import read_watermark
from streamdocs.generations.records import token_key
from streamdocs.reading.assembly import walk_of
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import Snapshot
from streamdocs.streams import GenerationScope

#: Items of a slice: some megabytes.
_ITEMS = 256 * BLOCK


class GeneratedRows:
    """The accepted generations of some streams, as far as they are resolved without a gap.

    Args:
        dataset: Of the run.
        stream: Only of this stream; None for all.
        sources: Whether each row also has the text of its document.
        resolved: Items of each stream, by its name: how many of an earlier export that goes on; None to look.

    Raises:
        ConfigError: There is no such stream, or nothing was generated.
    """

    unit = "generations"

    def __init__(
        self,
        dataset: StreamingMegadocDataset,
        stream: str | None = None,
        *,
        sources: bool = False,
        resolved: dict[str, int] | None = None,
    ) -> None:
        self.dataset = dataset
        run, store = dataset.run, dataset.store
        scopes = [each.scope for each in (run.synthetic if stream is None else [run.stream(stream)])]
        if store is None or not scopes:
            raise ConfigError("nothing is generated where nothing synthetic is read")
        self._store = store
        self._scopes = {scope.stream: scope for scope in scopes}
        if resolved is None:
            with store.read() as snapshot:
                resolved = {name: read_watermark(snapshot, scope) for name, scope in self._scopes.items()}
        if not sum(resolved.values()):
            raise ConfigError(f"nothing was generated yet in store {store.location}: start streamdocs-server")
        self._resolved, self._sources = resolved, sources
        token = pa.from_numpy_dtype(dataset.corpus.dtype)
        strings = ("stream", "style", "writer", "key", "digest", "walk", "text")
        columns = {
            **{name: pa.string() for name in strings},
            **{name: pa.int64() for name in ("document", "round", "number", "about")},
            "input_ids": pa.list_(token),
            **({"source": pa.string()} if sources else {}),
        }
        self.schema = pa.schema([*columns.items()])
        self.identity: dict[str, Any] = {
            "what": "generated",
            "resolved": resolved,
            "scopes": {name: scope.id.hex() for name, scope in self._scopes.items()},
            "sources": sources,
        }

    def slices(self) -> list[Slice]:
        """Items that are written together, stream by stream."""
        found = [
            (range(first, min(first + _ITEMS, items)), name)
            for name, items in self._resolved.items()
            for first in range(0, items, _ITEMS)
        ]
        return [Slice(number, *each) for number, each in enumerate(found)]

    def table(self, these: Slice) -> pa.Table:
        """The generations of some items; none of those that retired."""
        scope = self._scopes[these.stream]
        with self._store.read() as snapshot:
            rows = [
                row
                for document, round in _items(scope, these.rows)
                for row in self._of(snapshot, scope, document, round)
            ]
        return pa.Table.from_pylist(rows, self.schema)

    def _of(self, snapshot: Snapshot, scope: GenerationScope, document: int, round: int) -> Iterator[dict[str, Any]]:
        key = scope.key(document, round)
        if (record := decode_text(key, snapshot.get("texts", key.digest))) is None:
            return
        tokens = decode_tokens(key, snapshot.get("tokens", token_key(scope, key.digest)))
        about, repeat = scope.about(document, round)
        for number, text in enumerate(record.texts):
            if text is None:
                continue
            author = scope.author(round, number)
            yield {
                "stream": scope.stream,
                "style": author.style,
                "writer": author.writer,
                "key": key.digest.hex(),
                "document": document,
                "digest": scope.corpus.document_digest(document).hex(),
                "about": about if repeat else None,
                "walk": told_walk(walk_of(scope, document, round, number)),
                "round": round,
                "number": number,
                "text": text,
                "input_ids": self._tokens(scope, tokens, number, text),
                **({"source": scope.text(document, round)} if self._sources else {}),
            }

    def _tokens(
        self, scope: GenerationScope, record: TokenRecord | None, number: int, text: str
    ) -> np.ndarray[Any, Any]:
        """Those that the store has; where it lost them, those of the text."""
        found = record.generation(number) if record and number < len(record.lengths) else None
        return scope.corpus.tokenizer.encode_batch([text])[0] if found is None else found.copy()

    def count(self, table: pa.Table) -> dict[str, int]:
        """What a slice holds, for the card."""
        counts = {"rows": table.num_rows, "tokens": len(table["input_ids"].combine_chunks().flatten())}
        for stream, style, writer in zip(
            *(table[name].to_pylist() for name in ("stream", "style", "writer")), strict=True
        ):
            name = f"generations of {stream}, {style} by {writer}"
            counts[name] = counts.get(name, 0) + 1
        return counts


def _items(scope: GenerationScope, items: range) -> Iterator[tuple[int, int]]:
    """Document and round of some items, in the order of generation; they begin with a block."""
    order = scope.generation_order
    number = order.block_of_item(items.start) if len(items) else 0
    while order.first_item(number) < items.stop:
        block = order.block(number)
        for document in order.sources_of(block).tolist():
            yield document, block.round
        number += 1
