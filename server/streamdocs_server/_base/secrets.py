"""Keeping an API key out of everything that is written down: servers have been seen to quote it."""

import logging
import re
from collections.abc import Sequence

#: Those that may write down what is sent and received, each for itself: a filter is not for the loggers below.
_LOGGERS = ("aiohttp.client", "aiohttp.internal", "asyncio")

_SECRET_FLAG = re.compile(r"--[a-z-]*(key|token|secret|password)")


def hide_arguments(command: Sequence[str]) -> str:
    """A command as one line, without the values of flags that hold secrets."""
    shown, hide = [], False
    for argument in command:
        flag, equals, _ = argument.partition("=")
        secret = _SECRET_FLAG.fullmatch(flag) is not None
        shown.append("***" if hide else f"{flag}=***" if secret and equals else argument)
        hide = secret and not equals
    return " ".join(shown)


class Secret:
    """A key that is shown nowhere; "" for none."""

    def __init__(self, value: str) -> None:
        self._value = value
        if value:
            for name in _LOGGERS:
                logging.getLogger(name).addFilter(self)

    def __repr__(self) -> str:
        return "***" if self._value else ""

    def __bool__(self) -> bool:
        return bool(self._value)

    @property
    def headers(self) -> dict[str, str]:
        """What is sent."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def hide(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._value, "***") if self._value else text

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the key out of a line of the log."""
        message = record.getMessage()
        if self._value in message:
            record.msg, record.args = self.hide(message), ()
        return True

    def close(self) -> None:
        """No longer look at the log."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
