"""The ledgers of a run: one for each of its synthetic streams."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from streamdocs.errors import ConfigError
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.resuming import check_resume, newest_seal
from streamdocs.ledger.verification import reseal_lost
from streamdocs.run import Run
from streamdocs.steering.sealed import SealedRows
from streamdocs.store import Store


class Ledgers(Mapping[str, Ledger]):
    """The sealed windows of each synthetic stream that is read, by its name.

    Args:
        run: The run.
        store: Where windows and generations are; None where nothing synthetic is read.
        wait_timeout: Seconds that sealing a window waits without any progress.
    """

    def __init__(self, run: Run, store: Store | None, wait_timeout: float) -> None:
        self._window = run.mixture.window
        streams = run.synthetic if store and run.mixture.fraction else []
        self._ledgers = {stream.name: Ledger(run, stream, store, wait_timeout) for stream in streams if store}
        for ledger in self._ledgers.values():
            ledger.others = [other for other in self._ledgers.values() if other is not ledger]
        if run.decisions:
            run.decisions.consult(self.sealed)

    def sealed(self, window: int) -> list[SealedRows]:
        """What is sealed of a window, as far as it can be read."""
        found = []
        for ledger in self.values():
            with suppress(ValueError):  # damaged, which its readers tell
                if rows := ledger.sealed_rows(window):
                    found.append(rows)
        return found

    def __getitem__(self, stream: str) -> Ledger:
        """That of a stream."""
        return self._ledgers[stream]

    def __iter__(self) -> Iterator[str]:
        """Names of the streams."""
        return iter(self._ledgers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ledgers)

    @property
    def waited_seconds(self) -> float:
        """Seconds that this process waited for generations."""
        return sum(ledger.waited_seconds for ledger in self.values())

    def seals(self, position: int) -> dict[str, Any]:
        """What a state at ``position`` says of the newest sealed windows: see ``SavedState``."""
        found = {name: newest_seal(ledger, position) for name, ledger in self.items()}
        if len(found) > 1:
            return {"seals": {name: list(seal) for name, seal in found.items()}}
        fields: dict[str, Any] = {}
        for window, fields["sealed"] in found.values():
            if fields["sealed"] and window != (position - 1) // self._window:
                fields["sealed_window"] = window
        return fields

    def resume(self, position: int, seal: Callable[[str, int], tuple[int, str]], *, again: bool, reseal: bool) -> None:
        """Make sure that the store sealed what a state at a position says of each stream: see ``resuming``.

        Args:
            position, seal: Where the state stands, and what it says of the newest window of a stream.
            again: Whether the run is read from its beginning on.
            reseal: Seal anew what is lost of what is to be read.
        """
        for name, ledger in self.items():
            check_resume(ledger, position, seal(name, self._window), replaced=reseal)
        for ledger in self.values() if reseal else ():
            reseal_lost(ledger, 0 if again else position // self._window, retired=True)

    def mark(self, position: int, keep: int) -> None:
        """Note that a checkpoint may come back to ``position``; the newest ``keep`` of these hold generations."""
        for ledger in self.values():
            ledger.mark(position, keep)

    def mixed_until(self, position: int) -> dict[str, float]:
        """See ``StreamingMegadocDataset.mixed_until``; windows before ``position`` are sealed first."""
        window = (position - 1) // self._window
        found = {name: ledger.meter.until(ledger.manifest(window)) for name, ledger in self.items()}
        share = sum(each["synthetic_fraction"] for each in found.values())
        if len(found) == 1:
            return next(iter(found.values()))
        by_stream = {f"{name}/{what}": value for name, each in found.items() for what, value in each.items()}
        return {"synthetic_fraction": share, **by_stream}


def sealed_positions(ledgers: Mapping[str, Ledger], window: int) -> int | None:
    """How many positions of a run, from 0 on, are sealed in all of some ledgers; None where there are none of these.

    Args:
        ledgers: Of its synthetic streams.
        window: Sequences of a window.
    """
    return min(ledger.count() for ledger in ledgers.values()) * window if ledgers else None


def chosen_positions(ledgers: Mapping[str, Ledger], window: int, start: int, stop: int | None, epoch: int) -> range:
    """The positions from ``start`` to before ``stop``, by default to the last that is sealed.

    Args:
        ledgers: Of the synthetic streams of a run.
        window: Sequences of a window.
        start, stop: Which are asked for.
        epoch: Sequences of an epoch, which is all where nothing has to be sealed.

    Raises:
        ConfigError: Not all of them are sealed: looking must not decide what a run reads.
    """
    sealed = sealed_positions(ledgers, window)
    most = max(epoch, stop or 0) if sealed is None else sealed
    stop = most if stop is None else stop
    if not 0 <= start < stop <= most:
        raise ConfigError(
            f"positions {start}:{stop}: ask for some of 0:{most}"
            + ("" if sealed is None else f", of the {sealed // window} sealed windows")
        )
    return range(start, stop)
