"""What all controllers have in common: a step from a state and what was seen to the next state and shares."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from streamdocs._base.typed import check_types
from streamdocs.errors import ConfigError

log = logging.getLogger(__name__)

Floats: TypeAlias = npt.NDArray[np.float64]
#: Shares are fractions, and floors what people write.
_ROUNDING = 1e-9
#: What a controller remembers: numbers by name, which msgpack packs.
State: TypeAlias = Mapping[str, Any]
Reward: TypeAlias = Literal["auto", "held_out", "progress", "loss"]


class Arms(NamedTuple):
    """The synthetic streams, between which shares move.

    names: Theirs. shares: float64 (arms,), with which the run begins, of all of them together; they add up to 1.
    """

    names: tuple[str, ...]
    shares: Floats


class Seen(NamedTuple):
    """What was seen of the arms, in one window or between two evaluations.

    positions: Of the run, those that it is about.
    shares, expected: float64 (arms,), of the sequences that were read, each arm's; and what that was to be, as likely
        as each arm was to be drawn when its windows were decided on.
    rewards: float64 (arms,), from 0 to 1 with 1/2 for as good as usual; NaN for an arm of which nothing is known.
    together: Whether that is one reward, of all arms together.
    losses, read: float64 (arms,), mean loss in nats a token, NaN for none; and sequences read of each arm until then.
    """

    positions: range
    shares: Floats
    expected: Floats
    rewards: Floats
    together: bool
    losses: Floats
    read: Floats


class Step(NamedTuple):
    """What a controller decides: what it remembers, the shares of the arms, and why, in a few words."""

    state: State
    shares: Floats
    why: str


@dataclass(frozen=True, kw_only=True)
class Controller:
    """What moves the shares of the synthetic streams.

    Args:
        floor: Least share of each arm, of all of them together.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # where a run file is read

    name: ClassVar[str]

    floor: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def __post_init__(self) -> None:
        check_types(self, f"controller {self.name}")

    @property
    def identity(self) -> list[Any]:
        """All that its decisions depend on but what is reported."""
        return [self.name, asdict(self)]

    def check(self, arms: Arms) -> None:
        """Make sure that it can steer these arms.

        Raises:
            ConfigError: It cannot.
        """
        if (count := len(arms.names)) < 2:
            raise ConfigError(f"controller {self.name} moves shares between synthetic streams: give two or more")
        lowest = int(arms.shares.argmin())
        if self.floor >= 1 / count or arms.shares[lowest] < self.floor - _ROUNDING:
            raise ConfigError(
                f"controller {self.name}: floor={self.floor}: below 1/{count}, and at most what the least of the "
                f"synthetic part begins with ({arms.names[lowest]}, {arms.shares[lowest]:.4f})"
            )

    def decide(self, state: State, seen: Sequence[Seen], arms: Arms, position: int, draw: float) -> Step:
        """The shares of the window that begins at a position.

        Args:
            state: What it remembers of the window before; empty before the first.
            seen: What is new since then, in order.
            arms: What it moves shares between.
            position: First of the window.
            draw: From 0 to before 1, the same whenever this window is decided on.
        """
        raise NotImplementedError

    def expected(self, state: State, shares: Floats) -> Floats:
        """What shares were to be before anything was drawn.

        Args:
            state: After they were decided.
            shares: float64 (arms,), those that were.
        """
        return shares

    def above_floor(self, shares: Floats) -> Floats:
        """Shares as parts of what is above the floors; they add up to 1."""
        free: Floats = np.maximum(shares - self.floor, 0) / (1 - self.floor * len(shares))
        return free

    def with_floor(self, parts: Floats) -> Floats:
        """The reverse."""
        shares: Floats = self.floor + (1 - self.floor * len(parts)) * parts
        return shares


@dataclass(frozen=True, kw_only=True)
class Learner(Controller):
    """A controller that goes by what is reported.

    Args:
        reward: ``held_out``, by how far an evaluation's loss fell since the one before; ``progress``, each arm by how
            far its own loss fell; ``loss``, each arm by how high its loss is, of which noise has most; ``auto``
            (default), ``held_out`` from the first evaluation on, and ``progress`` before.
        lag: Windows between the last whose reports a decision may know and the one that it is for.
        patience: Windows without any report after which the shares are those that the run began with.
    """

    #: Raised where the same reports make other shares than before: a run is never steered on by another rule.
    _RULES: ClassVar[int] = 2

    reward: Reward = "auto"
    lag: Annotated[int, Field(ge=1, le=1000)] = 1
    patience: Annotated[int, Field(ge=1, lt=1 << 62)] = 32

    @property
    def identity(self) -> list[Any]:
        """As of every controller."""
        return [*super().identity, self._RULES]

    def check(self, arms: Arms) -> None:
        """As of every controller."""
        super().check(arms)
        if self.reward == "loss":
            log.warning(
                "controller %s: by raw loss, what cannot be learned is the best: noise has the highest", self.name
            )

    def hears(self, seen: Sequence[Seen]) -> bool:
        """Whether that tells it anything."""
        return bool(self.judged(seen))

    @staticmethod
    def judged(seen: Sequence[Seen]) -> list[Seen]:
        """What says of some arm how good it was."""
        return [each for each in seen if not np.isnan(each.rewards).all()]


def scattered(arms: int, arm: int) -> Floats:
    """float64 (arms,): all for one arm."""
    parts = np.zeros(arms)
    parts[arm] = 1.0
    return parts
