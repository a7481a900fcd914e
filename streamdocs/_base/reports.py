"""When a wait is told: soon, and then more and more seldom."""


class Reports:
    """Says when a report of something that takes long is due: after 1, 10 and 30 seconds, then every minute."""

    _FIRST = (1.0, 10.0, 30.0)

    def __init__(self) -> None:
        self._next = self._FIRST[0]

    def due(self, seconds: float) -> bool:
        """Whether one is, so long after the beginning; the next is due later."""
        if seconds < self._next:
            return False
        self._next = next((each for each in self._FIRST if each > seconds), seconds - seconds % 60 + 60)
        return True
