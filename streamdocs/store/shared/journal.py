"""What was to be sent to a shared store: kept by the node until it was, whoever is killed meanwhile."""

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgpack
from pydantic import TypeAdapter

from streamdocs._base.unfinished import identity, write_into
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreError
from streamdocs.store.shared.entry import sealed, unsealed

log = logging.getLogger(__name__)

_ENTRIES = TypeAdapter(list[tuple[bytes, bytes]])
#: Whose a file is: what ``identity`` said of the process.
_NAME = re.compile(r"((\d+)(?:-[0-9a-f]{16})?)-[0-9a-f]+\.texts")


class Journal:
    """Texts that are on their way.

    Args:
        folder: Of the node; made where it is missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        # What of each file of this process was not sent yet.
        self._kept: dict[Path, set[bytes]] = {}

    def __str__(self) -> str:
        """Where it is."""
        return str(self._folder)

    @property
    def keys(self) -> set[bytes]:
        """Keys of those that this process keeps."""
        return set[bytes]().union(*self._kept.copy().values())

    def keep(self, texts: Mapping[bytes, bytes]) -> Callable[[], None]:
        """Keep texts until they were sent, or what this returns is called."""
        path = self._folder / f"{identity(os.getpid())}-{secrets.token_hex(8)}.texts"
        try:
            write_into(self._folder, path.name, sealed(msgpack.packb([*texts.items()])))
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be written ({error}): make room, or name another cache") from error
        self._kept[path] = set(texts)
        return partial(self._drop, path)

    def sent(self, keys: Iterable[bytes]) -> None:
        """Keep no more of some texts, whoever kept them: a file goes when nothing of it is left."""
        keys = set(keys)
        for path, left in self._kept.copy().items():
            left.difference_update(keys)
            if not left:
                self._drop(path)

    def _drop(self, path: Path) -> None:
        self._kept.pop(path, None)
        path.unlink(missing_ok=True)

    def left(self) -> Iterator[tuple[Path, dict[bytes, bytes]]]:
        """What processes that are gone did not send, and the file of it, to be removed once it was."""
        for path in sorted(self._folder.glob("*.texts")):
            name = _NAME.fullmatch(path.name)
            if name is None or (int(name[2]) != os.getpid() and identity(int(name[2])) == name[1]):
                continue
            try:
                yield path, dict(_ENTRIES.validate_python(unpack(unsealed(path.read_bytes()))))
            except FileNotFoundError:
                continue  # another process was faster
            except ValueError as error:
                log.warning("%s is damaged (%s): what is in it is asked for again", path, error)
                path.unlink(missing_ok=True)
