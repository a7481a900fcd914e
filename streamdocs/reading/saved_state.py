"""The state of a run, from a checkpoint: JSON from outside, which is checked before anything goes by it."""

import logging
import operator
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streamdocs._base.untrusted import faults
from streamdocs.errors import FingerprintError
from streamdocs.schedule.mixture import Mixture

log = logging.getLogger(__name__)


def _whole(value: Any) -> int:
    """An integer of any kind, NumPy's too; True is none, and neither is 3.0."""
    if isinstance(value, bool):
        raise ValueError("a truth value, not a number")
    try:
        return operator.index(value)
    except TypeError as error:
        raise ValueError(f"{type(value).__name__}, not a whole number") from error


_Whole = Annotated[int, BeforeValidator(_whole)]


_Seal = Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]


class Place(NamedTuple):
    """Where a run, or one DataLoader worker of it, stands: as in SavedState."""

    epoch: int
    sample_in_epoch: int
    position: int
    worker: tuple[int, int] | None = None


class SavedState(BaseModel):
    """Where a run stands.

    Args:
        epoch, sample_in_epoch: As Composer counts.
        position: In the run: where the epoch began, and so many sequences more.
        fingerprint: Of the run, by field.
        sealed: Digest of the newest manifest that was read from; "" for none, None where a run reads nothing sealed.
        worker: Number of the DataLoader worker whose state it is, and of how many; None for the whole run.
        sealed_window: Its window; None for that of the last sequence before ``position``.
        seals: In place of the two, where several streams are sealed: window and digest of each, by its name.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    # What a cursor holds of them fits 64 bits with room to count on.
    epoch: Annotated[_Whole, Field(ge=0, lt=1 << 30)]
    sample_in_epoch: Annotated[_Whole, Field(ge=0, lt=1 << 48)]
    position: Annotated[_Whole, Field(ge=0, lt=1 << 48)]
    fingerprint: dict[str, str | Annotated[int, Field(ge=0, lt=1 << 64)]]
    sealed: _Seal | None = None
    worker: tuple[_Whole, _Whole] | None = None
    sealed_window: Annotated[_Whole, Field(ge=0, lt=1 << 48)] | None = None
    seals: dict[str, tuple[Annotated[_Whole, Field(ge=-1, lt=1 << 48)], _Seal]] | None = None

    @property
    def epoch_start(self) -> int:
        """The position where the epoch began."""
        return self.position - self.sample_in_epoch

    def seal(self, stream: str, window: int) -> tuple[int, str]:
        """The newest window, of ``window`` sequences, that was sealed of a stream, and the digest of its manifest."""
        if self.seals is not None:
            return self.seals.get(stream, (-1, ""))
        last = (self.position - 1) // window
        return last if self.sealed_window is None else self.sealed_window, self.sealed or ""

    @classmethod
    def read(cls, state: Any) -> "SavedState":
        """A state of any run.

        Raises:
            FingerprintError: It is not what ``state_dict`` gives.
        """
        try:
            return cls.model_validate(state)
        except ValidationError as error:
            raise FingerprintError(f"the state is none of a streamdocs run, or damaged: {faults(error, 5)}") from error

    def check(self, epoch_sequences: int, mixture: Mixture) -> None:
        """Make sure that its numbers can be those of a run of this mixture, in epochs of ``epoch_sequences``.

        No epoch is empty, the first begins at 0, and where windows are sealed it says which.

        Raises:
            FingerprintError: They cannot.
        """
        start = self.epoch_start
        if start < self.epoch or (self.epoch == 0 and start):
            raise FingerprintError(
                f"the state is damaged: position {self.position} contradicts sample {self.sample_in_epoch} of epoch "
                f"{self.epoch}"
            )
        # "" is possible anywhere: maybe only other ranks had read anything synthetic.
        if mixture.fraction and self.sealed is None and self.seals is None:
            raise FingerprintError("the state is damaged: it does not say which sealed window was read last")
        if start != self.epoch * epoch_sequences:
            log.warning(
                "epoch %d began at position %d and not at %d: epochs had another length when the state was saved",
                *(self.epoch, start, self.epoch * epoch_sequences),
            )
