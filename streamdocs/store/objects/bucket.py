"""What the objects of all providers have in common: a bucket, a prefix, and a client for each process."""

import os
import re
from typing import Any, ClassVar

from streamdocs.store.objects.base import RefusedError

# Up to the last of it: keys have slashes in them, and URLs with them are told as they are where they cannot be read.
_USER = re.compile(r"//[^\s\"'<>]*@")


def without_users(told: object) -> str:
    """What a provider's library says, without the user and key of a URL in it, nor its full stop."""
    return _USER.sub("//", str(told)).rstrip(".")


class BucketObjects:
    """Objects of a bucket, whose names begin with a prefix.

    Args:
        bucket: Its name; Azure calls it a container.
        prefix: Without a slash at its end; may be empty.
    """

    scheme: ClassVar[str]
    #: What to do where a client cannot be opened.
    advice: ClassVar[str]

    def __init__(self, bucket: str, prefix: str) -> None:
        self.location = f"{self.scheme}://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._opened: tuple[int, Any] = (0, None)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": (0, None)}

    def prepare(self) -> None:
        """Nothing: who pays for it makes it."""

    @property
    def _client(self) -> Any:
        if self._opened[0] != os.getpid():  # connections cannot be shared with the process that this was forked from
            try:
                self._opened = (os.getpid(), self._open())
            except (ValueError, OSError) as error:  # nothing is asked of anybody yet
                raise RefusedError(f"{self.location}: {without_users(error)}. {self.advice}") from error
        return self._opened[1]

    def _open(self) -> Any:
        """A client of the provider's own, of requests that are sent once."""
        raise NotImplementedError
