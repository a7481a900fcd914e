"""Every error that streamdocs raises on purpose.

    StreamdocsError
    ├── ConfigError            a run file, argument or recipe that cannot mean what was asked
    ├── CorpusError            a corpus that cannot be written or read
    │   └── BadInputError      more bad rows than --max-bad allows
    ├── StoreError             a store that cannot be opened, read or written
    │   ├── StoreFullError     the store reached its size limit
    │   └── MissingGenerationError   a sealed window refers to generations that are gone
    ├── LedgerFileError        an exported ledger that cannot be read, or contradicts what the store holds
    ├── FingerprintError       the state or the store belongs to another run
    ├── WaitTimeoutError       generations (or a server) did not come within the deadline
    ├── WorkerGoneError        a DataLoader worker was killed
    └── EngineError            the language model server cannot be used
        └── EngineUnavailableError   it may be used again later: refused, timed out, overloaded

Each message says what failed, on which file, document or window, and what to do about it.
"""

from collections.abc import Sequence


class StreamdocsError(Exception):
    """Base of every error that streamdocs raises on purpose."""


class ConfigError(StreamdocsError, ValueError):
    """A run file, argument or recipe cannot mean what was asked."""


class CorpusError(StreamdocsError):
    """A corpus cannot be written or read."""


class BadInputError(CorpusError):
    """The input has more bad rows than allowed."""


class StoreError(StreamdocsError):
    """A store cannot be opened, read or written."""


class StoreFullError(StoreError):
    """The store reached its size limit; nothing that was committed is lost."""


class MissingGenerationError(StoreError):
    """A sealed window refers to generations that are gone from the store."""


class LedgerFileError(StreamdocsError):
    """An exported ledger cannot be read, or contradicts what the store holds."""


class FingerprintError(StreamdocsError):
    """A state, store or corpus belongs to another run; the message names each field that differs."""


class WaitTimeoutError(StreamdocsError, TimeoutError):
    """What was waited for did not come within the deadline."""


class WorkerGoneError(StreamdocsError):
    """A DataLoader worker was killed while its trainer still needed it."""


class EngineError(StreamdocsError):
    """The language model server cannot be used as configured."""


class EngineUnavailableError(EngineError):
    """The language model server cannot be used now, and may be later: refused, timed out or overloaded."""


def reason(error: Exception) -> str:
    """Why a file cannot be used: without its name, where that is said already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def some(things: Sequence[object], most: int = 5) -> str:
    """The first of some numbers or names, and how many more there are."""
    more = len(things) - most
    return ", ".join(map(str, things[:most])) + (f" and {more:,} more" if more > 0 else "")
