"""Which rank this process is, of how many: what it is told, what torch.distributed says, or the environment."""

import os
import sys
from typing import NamedTuple

from streaming.base.world import World
from torch import distributed

from streamdocs.errors import ConfigError


class Ranks(NamedTuple):
    """A rank among those that read a run together.

    rank, ranks: Which, of how many. source: Who says so. local: Ranks of this machine, where that is known.
    """

    rank: int
    ranks: int
    source: str
    local: int = 1

    @classmethod
    def detect(cls, rank: int | None, ranks: int | None) -> "Ranks":
        """The rank of this process; ``rank`` and ``ranks`` are what was given to the dataset.

        Raises:
            ConfigError: What is known contradicts itself, or somebody else may deal out what this rank reads.
        """
        environment = World.detect()
        if rank is not None or ranks is not None:
            return cls(rank or 0, ranks or 1, "rank= and ranks=")._checked()
        found = cls(environment.rank, environment.num_ranks, "the environment", environment.ranks_per_node)
        if distributed.is_available() and distributed.is_initialized():
            rank, ranks = distributed.get_rank(), distributed.get_world_size()
            found = found._replace(rank=rank, ranks=ranks, source="torch.distributed")
        named = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE") if name in os.environ}
        if len(named) == 2 and found[:2] != (environment.rank, environment.num_ranks):
            raise ConfigError(
                f"this is rank {found.rank} of {found.ranks} for torch.distributed, and rank {environment.rank} of "
                f"{environment.num_ranks} for the environment (RANK, WORLD_SIZE): correct or unset these, or pass "
                "rank= and ranks="
            )
        if (others := _accelerated()) > 1:
            raise ConfigError(
                f"accelerate runs {others} processes. Where it prepares the loader it deals the batches out itself: "
                f"pass rank=0, ranks=1. Where it does not: rank={found.rank}, ranks={found.ranks}"
            )
        return found._checked()

    def world(self) -> World:
        """As streaming has it, with the worker that this process is."""
        local = self.local if self.ranks % self.local == 0 else 1
        return World(self.ranks // local, local, 1, self.rank).detect_workers()

    def _checked(self) -> "Ranks":
        if not 0 <= self.rank < self.ranks:
            raise ConfigError(
                f"rank {self.rank} of {self.ranks} ranks, by {self.source}: ranks are counted from 0 on (RANK and "
                "WORLD_SIZE, or rank= and ranks=)"
            )
        return self


def _accelerated() -> int:
    """Processes that an ``accelerate.Accelerator`` of this process runs with; 0 where there is none."""
    state = getattr(sys.modules.get("accelerate.state"), "AcceleratorState", None)
    return int(getattr(state, "_shared_state", {}).get("num_processes", 0))
