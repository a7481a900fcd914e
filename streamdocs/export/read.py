"""What was read, as rows: a sequence each, with its tokens, its text and where each stretch of it comes from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.export.rows import Slice, told_walk
from streamdocs.ledger.ledger import Ledger
from streamdocs.reading.assembly import Assembler, Segment, with_steps

#: Most tokens that are held at a time: 8 or 16 MB of them, and as much again of text and provenance.
_MOST_TOKENS = 1 << 22

_SEGMENT = pa.struct(
    [
        *((name, pa.string()) for name in ("kind", "stream", "style", "writer", "key", "digest", "walk")),
        *((name, pa.int64()) for name in ("start", "stop", "offset", "document", "round", "number", "about")),
    ]
)


class ReadRows:
    """The sequences at some positions.

    Args:
        dataset: Of the run.
        ledgers: Its sealed windows.
        positions: Which, all of them sealed.
    """

    #: What a row is called where rows are counted.
    unit = "sequences"

    def __init__(self, dataset: StreamingMegadocDataset, ledgers: Mapping[str, Ledger], positions: range) -> None:
        self.dataset = dataset
        self.positions = positions
        self._assembler = Assembler(dataset.run, ledgers)
        self._corpora = {each.name: each.corpus for each in dataset.run.streams}
        token = pa.from_numpy_dtype(dataset.corpus.dtype)
        columns = {"position": pa.int64(), "stream": pa.string(), "synthetic": pa.bool_()}
        more = {"input_ids": pa.list_(token), "text": pa.string(), "segments": pa.list_(_SEGMENT)}
        self.schema = pa.schema([*{**columns, **more}.items()])
        # In the digest of a window is all that was sealed before it.
        last = (positions.stop - 1) // dataset.run.mixture.window
        #: What makes the rows those that they are, as JSON.
        self.identity: dict[str, Any] = {
            "what": "read",
            "positions": [positions.start, positions.stop],
            "run": dataset.run.fingerprint,
            "sealed": {name: ledger.manifest(last).after.history.hex() for name, ledger in ledgers.items()},
        }

    def slices(self) -> list[Slice]:
        """Positions that are read together, in order."""
        size = max(_MOST_TOKENS // self.dataset.run.mixture.max_seq_len, 1)
        return [
            Slice(number, range(first, min(first + size, self.positions.stop)))
            for number, first in enumerate(range(self.positions.start, self.positions.stop, size))
        ]

    def table(self, these: Slice) -> pa.Table:
        """The rows of a slice.

        Raises:
            MissingGenerationError: A generation that was read is gone.
        """
        found = self._assembler.read(these.rows)
        decode, names = self.dataset.corpus.tokenizer.decode, self.dataset.streams
        columns = {
            "position": found.position,
            "stream": [names[number] for number in found.stream.tolist()],
            "synthetic": found.synthetic,
            "input_ids": pa.array(list(found.tokens), self.schema.field("input_ids").type),
            "text": [decode(tokens) for tokens in found.tokens],
            "segments": [self._segments(position) for position in these.rows],
        }
        return pa.table(columns, self.schema)

    def _segments(self, position: int) -> list[dict[str, Any]]:
        segments = with_steps(self.dataset.store, self.dataset.run, self._assembler.explain(position))
        return [self._segment(each) for each in segments]

    def _segment(self, segment: Segment) -> dict[str, Any]:
        names = ("kind", "stream", "style", "writer", "key", "start", "stop", "offset", "document", "about")
        round, number = segment.generation or (None, None)
        return {
            **{name: getattr(segment, name) for name in names},
            "digest": self._corpora[segment.stream].document_digest(segment.document).hex(),
            "walk": told_walk(segment.walk),
            "round": round,
            "number": number,
        }

    def count(self, table: pa.Table) -> dict[str, int]:
        """What a slice holds, for the card."""
        names, counts = np.unique(table["stream"].to_pylist(), return_counts=True)
        streams = {
            f"sequences of {name}": int(count) for name, count in zip(names.tolist(), counts.tolist(), strict=True)
        }
        return {"rows": table.num_rows, "tokens": table.num_rows * self.dataset.run.mixture.max_seq_len, **streams}
