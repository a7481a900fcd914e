"""What training reports to its dataset."""

import operator
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeGuard

import torch
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs.errors import ConfigError
from streamdocs.reading.dealing import Dealer
from streamdocs.run import Run
from streamdocs.steering.reporter import Reporter
from streamdocs.steering.reports import Reports
from streamdocs.store import Store

#: Of a batch, what a report needs.
_COLUMNS = ("position", "stream", "labels")
_POSITION = TypeAdapter(Count)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
#: Reports are kept so often while a window is read.
_TIMES_A_WINDOW = 4


class Reporting:
    """The part of a dataset that training reports to."""

    run: Run
    store: Store | None
    _dealer: Dealer

    def report(
        self,
        batch: Mapping[str, torch.Tensor] | None = None,
        losses: torch.Tensor | None = None,
        *,
        every: int = 1,
        held_out: float | None = None,
        position: int | None = None,
    ) -> None:
        """Say what training lost: to the controller that moves the mixture, and to whoever looks at the run.

        Every rank says so of its own batches. What is said is kept in the store some times a window; said again of the
        same sequences, it takes the place of what was said before.

        Args:
            batch: As the loader gave it, on any device.
            losses: Its losses in nats a token, on the same device: (sequences,), or of each token
                (sequences, max_seq_len - 1), as the cross entropy of shifted logits is.
            every: Of how many batches one is reported, so that what is said is kept as often as if all were.
            held_out: Mean loss of what is held out, in nats a token, after an evaluation; the first rank's counts.
            position: Sequences of the run that were trained on until then; default what was handed out, which this
                process knows where it reads without workers, or was told by ``state_dict``. Where shares move, an
                evaluation counts once the run came there, if none at this position, or after it, was decided by; a
                warning says where it does not.

        Raises:
            ConfigError: There is no store, the batch or the losses are of another type or shape, or the position is
                not known. What was said before stays said.
        """
        if (batch is None) != (losses is None) or (batch is None and held_out is None):
            raise ConfigError("report(batch, losses) says what a batch lost, and report(held_out=loss) an evaluation")
        if batch is not None and losses is not None:
            if not isinstance(every, int) or every < 1:
                raise ConfigError(
                    f"report(batch, losses, every={every!r}): of how many batches one is reported, 1 or more"
                )
            said: dict[str, Any] = {each: batch.get(each) if hasattr(batch, "get") else None for each in _COLUMNS}
            if not (_is_batch(**said) and _is_told(losses) and not losses.is_complex()):
                raise ConfigError(
                    f"report(batch, losses) takes a batch as the loader gave it, with {', '.join(_COLUMNS)} (int64, a "
                    "row for each sequence), and a tensor of losses"
                )
            self._reporter.add(**said, losses=losses, every=every)
        if held_out is not None and self._dealer.is_leader:
            reporter = self._reporter
            where = self._dealer.place(None, False).position if position is None else position
            try:
                if isinstance(held_out, bool) or isinstance(where, bool):
                    raise TypeError("true and false are no numbers")
                place, loss = _POSITION.validate_python(operator.index(where)), float(held_out)
            except (TypeError, ValueError, RuntimeError) as error:  # the last of a tensor that holds no number
                raise ConfigError(
                    f"report(held_out={held_out!r}, position={where!r}): a loss, and a whole number of sequences"
                ) from error
            reporter.held_out(place, loss)

    @cached_property
    def _reporter(self) -> Reporter:
        """What this rank reports by."""
        run, world = self.run, self._dealer.world
        if not run.synthetic or self.store is None:
            raise ConfigError("reports are kept in the store of a run with a synthetic stream, and this has none")
        mixture = run.mixture
        reports = Reports(self.store, run.id, mixture.window, mixture.max_seq_len)
        batches = mixture.window // (self._dealer.global_batch * _TIMES_A_WINDOW)
        decisions = run.decisions if run.decisions and run.decisions.lag is not None else None
        return Reporter(reports, mixture, world.rank, batches, decisions)


def _is_batch(position: object, stream: object, labels: object) -> bool:
    """Whether these are columns of a batch: int64 (sequences,) twice, and int64 (sequences, tokens), or alike."""
    columns = [each for each in (position, stream, labels) if _is_told(each)]
    if len(columns) < 3 or not all(each.dtype in _WHOLE for each in columns):
        return False
    places, streams, tokens = (each.shape for each in columns)
    return places == streams == tokens[:1] and len(tokens) == 2 and tokens[1] > 0


def _is_told(value: object) -> TypeGuard[torch.Tensor]:
    """Whether something is a tensor that holds values."""
    return isinstance(value, torch.Tensor) and not value.is_meta
