"""The cache of a node: whose it is, and what is in it."""

import json
import logging
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from streamdocs._base.unfinished import write_into
from streamdocs.errors import StoreError
from streamdocs.store.lmdb import is_damage
from streamdocs.store.objects.base import FORMAT, RefusedError
from streamdocs.store.objects.probe import probe
from streamdocs.store.objects.reliable import ReliableObjects
from streamdocs.store.shared.replica import Replica

log = logging.getLogger(__name__)

_FORMAT = 1
#: Seconds between two looks for new entries, of all processes of a node.
POLL = 1.0
# Seconds for which a store is asked who it is where the cache knows.
_PATIENCE = 5.0


class Cache:
    """The folder of a node.

    Args:
        folder: Made where it is missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        # What the store says that it is: of another one, nothing here is of use.
        self._mark = self._folder / FORMAT
        self._polled = self._folder / "polled-"
        self.journal = str(self._folder / "journal")

    @property
    def is_known(self) -> bool:
        """Whether some store's."""
        return self._mark.exists()

    @property
    def is_followed(self) -> bool:
        """Whether some process of this node looked for new entries just now."""
        try:
            return 0 <= time.time() - self._polled.stat().st_mtime < 0.9 * POLL
        except OSError:
            return False

    def followed(self) -> None:
        """Tell the other processes of this node that one looked for new entries."""
        with suppress(OSError):  # somebody deleted the folder
            self._polled.touch()

    def identify(self, objects: ReliableObjects) -> bool:
        """Make sure that objects are a store, and this a cache of it; whether they could be asked.

        Raises:
            StoreError: They are none or of another version, or nothing is known of them and they do not answer.
        """
        known = self._known()
        try:
            found = (objects.within(_PATIENCE) if known else objects).get(self._mark.name)
        except StoreError as error:
            if not known:
                raise
            log.warning("going on with what the cache %s holds: %s", self._folder, error)
            return False
        if known:
            self._check_same(objects, known, found)
            return True
        said = _begin(objects) if found is None else _check(objects, found)
        try:
            write_into(self._folder, self._mark.name, said)
        except OSError as error:
            raise StoreError(f"cache {self._folder} cannot be written ({error}): name another folder") from error
        return True

    def check(self, objects: ReliableObjects) -> None:
        """Make sure that objects are still the store that this is the cache of.

        Raises:
            StoreError: They are not, or do not answer.
        """
        if known := self._known():
            self._check_same(objects, known, objects.get(self._mark.name))

    def open_replica(self) -> Replica:
        """The replica; filled anew where it is damaged."""
        folder = os.path.join(self._folder, "replica")
        try:
            replica = Replica(folder)
            replica.head()
        except StoreError as error:
            if not is_damage(error):
                raise
            log.warning("the replica in cache %s is filled anew: %s", self._folder, error)
            shutil.rmtree(folder, ignore_errors=True)
            replica = Replica(folder)
        # Who still has one open that was deleted follows the log for himself.
        self._polled = self._folder / f"polled-{replica.identity}"
        return replica

    def _known(self) -> str:
        """What the store said that it is; "" where that is not known."""
        try:
            return self._mark.read_text()
        except OSError:
            return ""

    def _check_same(self, objects: ReliableObjects, known: str, found: bytes | None) -> None:
        if found is None or found.decode(errors="replace") != known:
            what = "is empty" if found is None else "was made anew"
            raise StoreError(
                f"store {objects.location} {what}, and is not the one that cache {self._folder} was filled from: "
                "restore it, or delete the cache to begin with it (what was not sent yet is in its folder `journal`)"
            )


def _begin(objects: ReliableObjects) -> bytes:
    """Make a store; what it says that it is."""
    objects.prepare()
    probe(objects)
    said = json.dumps({"format": _FORMAT, "id": secrets.token_hex(8)}).encode()
    if objects.create(FORMAT, said):
        return said
    return _check(objects, objects.get(FORMAT) or b"")


def _check(objects: ReliableObjects, said: bytes) -> bytes:
    if f'"format": {_FORMAT},'.encode() not in said:
        raise StoreError(
            f"store {objects.location} is none of this version (it says {said[:80]!r}): name another prefix, "
            "or take the streamdocs that wrote it"
        )
    try:
        probe(objects)
    except StoreError as error:
        if not isinstance(error.__cause__, RefusedError):
            raise
        log.warning("store %s is read-only here: %s", objects.location, error)
    return said
