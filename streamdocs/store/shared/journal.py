"""What was to be sent to a shared store: kept by the node until it was, whoever is killed meanwhile."""

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgpack
from pydantic import TypeAdapter

from streamdocs._base.unfinished import is_alive, write_whole
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreError
from streamdocs.store.shared.entry import sealed, unsealed

log = logging.getLogger(__name__)

_ENTRIES = TypeAdapter(list[tuple[bytes, bytes]])
_NAME = re.compile(r"(\d+)-[0-9a-f]+\.texts")


class Journal:
    """Texts that are on their way.

    Args:
        folder: Of the node; made where it is missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        #: Keys of those that this process keeps.
        self.keys: set[bytes] = set()

    def __str__(self) -> str:
        """Where it is."""
        return str(self._folder)

    def keep(self, texts: Mapping[bytes, bytes]) -> Callable[[], None]:
        """Keep texts until what this returns is called: when they were sent."""
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(8)}.texts"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, sealed(msgpack.packb([*texts.items()])))
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be written ({error}): make room, or name another cache") from error
        self.keys.update(texts)

        def sent() -> None:
            self.keys.difference_update(texts)
            path.unlink(missing_ok=True)

        return sent

    def left(self) -> Iterator[tuple[Path, dict[bytes, bytes]]]:
        """What processes that are gone did not send, and the file of it, to be removed once it was."""
        for path in sorted(self._folder.glob("*.texts")):
            process = _NAME.fullmatch(path.name)
            if process is None or (int(process[1]) != os.getpid() and is_alive(int(process[1]))):
                continue
            try:
                yield path, dict(_ENTRIES.validate_python(unpack(unsealed(path.read_bytes()))))
            except FileNotFoundError:
                continue  # another process was faster
            except ValueError as error:
                log.warning("%s is damaged (%s): what is in it is asked for again", path, error)
                path.unlink(missing_ok=True)
