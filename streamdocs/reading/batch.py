"""Batches that cross from DataLoader workers to the trainer in as few bytes as their tokens have.

PyTorch would send every column as an int64 tensor in shared memory of its own; opening it costs more than making the
batch. Here a worker leaves the tokens where it read them (or sends them as they are stored), and they are widened once,
where they arrive.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from streamdocs._base.arrays import Bools, Ints, Tokens
from streamdocs.errors import ConfigError
from streamdocs.reading.cursor import Dealt, deliver
from streamdocs.reading.exchange import Address, Sequences, SequencesShape, attach

#: The label of a token that is not to be learned, as PyTorch has it.
IGNORED = -100


class Sample(Mapping[str, torch.Tensor]):
    """A sequence as a dataset yields it, by column; ``torch.utils.data.default_collate`` makes batches of them.

    It is a row of sequences that were read together; a batch of neighbouring rows is a view until it is widened.

    Args:
        sequences: What was read together.
        row: Which of them it is.
    """

    __slots__ = ("row", "sequences")

    def __init__(self, sequences: Sequences, row: int) -> None:
        self.sequences, self.row = sequences, row

    def __getitem__(self, column: str) -> torch.Tensor:
        """A column."""
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        """Names of the columns."""
        return iter(self._columns)

    def __len__(self) -> int:
        """Number of columns."""
        return len(self._columns)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent by a DataLoader worker without being collated, it arrives as a ``dict``."""
        columns = {name: column.numpy() for name, column in self._columns.items()}
        return _arrive, (columns, self.sequences.dealt)

    @property
    def _columns(self) -> dict[str, torch.Tensor]:
        columns = _columns(*_rows(self.sequences, slice(self.row, self.row + 1)))
        return {name: column[0] for name, column in columns.items()}


class _Sent:
    """What a worker sends: pickled as a call, which makes a plain ``dict`` of tensors where it arrives."""

    def __init__(self, make: Callable[..., dict[str, torch.Tensor]], *arguments: Any) -> None:
        self._call = make, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def _take(
    address: tuple[int, int, int], shape: tuple[int, int, str, bool, bool], first: int, count: int, dealt: Dealt | None
) -> dict[str, torch.Tensor]:
    """A batch of sequences that lie where the trainer can read them."""
    segment = attach(Address(*address))
    columns = _columns(*SequencesShape(*shape).over(segment.body, first, count)[:6])
    segment.taken[0] += 1  # last: from now on it may be written
    deliver(dealt, count)
    return columns


def _arrive(columns: dict[str, Any], dealt: Dealt | None) -> dict[str, torch.Tensor]:
    """A sequence that was sent as it is."""
    deliver(dealt, 1)
    return {name: torch.from_numpy(np.array(column)) for name, column in columns.items()}


def _widen(dealt: Dealt | None, *columns: Any) -> dict[str, torch.Tensor]:
    """A batch that was sent as it is stored."""
    deliver(dealt, len(columns[0]))
    return _columns(*columns)


def _collate(samples: Sequence[Sample], *, collate_fn_map: Any = None) -> Any:
    sequences, first = samples[0].sequences, samples[0].row
    rows = range(first, first + len(samples))
    dealt = sequences.dealt
    if dealt and len(samples) != dealt.batch_size:
        raise ConfigError(
            f"the DataLoader makes batches of {len(samples)} sequences, and the dataset deals them out in batches of "
            f"{dealt.batch_size}: give both the same batch_size, or some would be read twice after a resume"
        )
    in_worker = get_worker_info() is not None
    if all(sample.sequences is sequences for sample in samples) and [sample.row for sample in samples] == [*rows]:
        if in_worker and sequences.lease:
            lease = sequences.lease
            return _Sent(_take, tuple(lease.send(first)), tuple(lease.shape), first, len(rows), dealt)
        arrays = _rows(sequences, slice(first, rows.stop))
    else:
        apart = [_rows(sample.sequences, slice(sample.row, sample.row + 1)) for sample in samples]
        arrays = tuple(None if column[0] is None else np.concatenate(column) for column in zip(*apart, strict=True))
    return _Sent(_widen, dealt, *arrays) if in_worker else _columns(*arrays)


def _rows(sequences: Sequences, rows: slice) -> tuple[Any, ...]:
    columns = sequences[:6]
    return tuple(None if column is None else column[rows] for column in columns)


def _columns(
    tokens: Tokens,
    synthetic: Bools,
    stream: npt.NDArray[np.uint8],
    position: Ints,
    document: Tokens | None,
    masked: Bools | None,
) -> dict[str, torch.Tensor]:
    wide = np.empty((2, *tokens.shape), np.int64)
    wide[:] = tokens  # twice: training code may mask some labels, too
    if masked is not None:
        wide[1][masked] = IGNORED
    columns = {
        "input_ids": torch.from_numpy(wide[0]),
        "labels": torch.from_numpy(wide[1]),
        "synthetic": torch.from_numpy(synthetic.copy()),
        "stream": torch.from_numpy(stream.astype(np.int64)),
        "position": torch.from_numpy(position.copy()),
    }
    if document is not None:
        columns["sequence_id"] = torch.from_numpy(document.astype(np.int64))
    return columns


default_collate_fn_map[Sample] = _collate
