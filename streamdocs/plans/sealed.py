"""Plans of rounds in a store: each is sealed before the first block of its round is begun, and then is everybody's."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from streamdocs.errors import StoreError
from streamdocs.store import Store

_Plan = TypeVar("_Plan")


class SealedPlans(ABC, Generic[_Plan]):
    """The plans of a stream's rounds.

    Args:
        series: Whose they are: the id of its scope.
        most: Plans that are kept in memory.
    """

    def __init__(self, series: bytes, most: int) -> None:
        self._series = series
        self._most = most
        self._store: Store | None = None
        self._known: dict[int, _Plan] = {}

    def attach(self, store: Store) -> None:
        """From now on, look into a store."""
        self._store = store

    def find(self, round: int) -> _Plan | None:
        """The plan of a round; None where it has none yet.

        Raises:
            StoreError: It is damaged.
        """
        if (known := self._known.get(round)) is not None:
            return known
        with self._the_store.read() as snapshot:
            found = snapshot.get("windows", self._key(round))
        if found is None:
            return None
        try:
            plan = self._unpack(found)
        except ValueError as error:
            raise StoreError(
                f"the plan of round {round} in store {self._the_store.location} cannot be read ({error}): restore the "
                "store"
            ) from error
        self._known = {**dict(list(self._known.items())[1 - self._most :]), round: plan}
        return plan

    def of_round(self, round: int) -> _Plan:
        """The plan of a round.

        Raises:
            StoreError: It has none, or it is damaged.
        """
        if (plan := self.find(round)) is None:
            raise StoreError(
                f"round {round} has no plan in store {self._the_store.location}, so nothing was written of it: restore "
                "the store, or take a copy of it; an exported ledger holds no plans"
            )
        return plan

    def _add(self, round: int, packed: bytes) -> _Plan:
        """Seal a plan, unless somebody else was faster: the one that is sealed."""
        self._the_store.add("windows", {self._key(round): packed})
        return self.of_round(round)

    @abstractmethod
    def _unpack(self, packed: bytes | memoryview) -> _Plan:
        """A plan as it was sealed; ValueError where it cannot be one."""

    @property
    def _the_store(self) -> Store:
        if self._store is None:
            raise StoreError("the plans of rounds are in a store, and none was attached")
        return self._store

    def _key(self, round: int) -> bytes:
        return b"plan/" + self._series + round.to_bytes(4, "big")
