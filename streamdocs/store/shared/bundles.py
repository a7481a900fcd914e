"""Bundles: values that are written together, in objects of their own, read when one of them is wanted."""

import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from streamdocs.errors import StoreError
from streamdocs.store.base import Table
from streamdocs.store.objects.reliable import ReliableObjects
from streamdocs.store.shared.entry import BULKY, Bundle, damaged, pack_values, unpack_values
from streamdocs.store.shared.log import in_parallel
from streamdocs.store.shared.replica import Replica

log = logging.getLogger(__name__)

#: Less than that is written into the log itself.
_SMALL = 1 << 16
_MOST_BYTES = 8 << 20
#: Bundles that are remembered: a snapshot does not see what was kept after it was taken.
_REMEMBERED = 8
#: Most bundles that are fetched at a time.
_AT_ONCE = 16
# Bundles that are deleted between two looks for new entries, by some providers one by one.
_MOST_SWEPT = 16
_NAME = re.compile(r"bundles/([0-9a-f]{32})")

_Values = Mapping[bytes, bytes]


class Bundles:
    """Sends and fetches bundles.

    Args:
        objects: Where they are.
        replica: What keeps them.
        most_bytes: What it may take in all; None for any.
    """

    def __init__(self, objects: ReliableObjects, replica: Replica, most_bytes: int | None) -> None:
        self._objects = objects
        self._replica = replica
        self._most_bytes = most_bytes
        self._told = False
        self._lately: OrderedDict[bytes, _Values] = OrderedDict()

    def fetch(self, table: Table, wanted: Mapping[bytes, Sequence[bytes]]) -> _Values:
        """Values by key, of the keys that are wanted of each bundle; nothing of one that is gone.

        All of a bundle is read, and some bundles at a time: no more of them is in memory than these and what is wanted.
        """
        found: dict[bytes, bytes] = {}

        def take(bundle: bytes, values: _Values) -> None:
            found.update((key, values[key]) for key in wanted[bundle] if key in values)

        missing = []
        for bundle in wanted:
            if (values := self._lately.get(bundle)) is None:
                missing.append(bundle)
            else:
                take(bundle, values)
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            # Unpacked one by one: meanwhile each takes several times its size.
            for bundle, data in zip(some, in_parallel(self._read, some), strict=True):
                values = self._unpacked(bundle, data)
                take(bundle, values)
                self.hold(bundle, table, values)
        return found

    def hold(self, bundle: bytes, table: Table, values: _Values) -> None:
        """Keep what is in a bundle, in the place of what was read first where there is no room."""
        self._lately[bundle] = values
        while len(self._lately) > _REMEMBERED:
            self._lately.popitem(last=False)
        if not self._replica.store.is_read_only:
            try:
                self._replica.hold(bundle, table, values)
                if self._most_bytes is not None:
                    self._replica.evict(self._most_bytes)
            except StoreError as error:  # what was read is at hand, whether it can be kept or not
                if not self._told:
                    log.warning("the cache keeps no more, and fetches what it lacks each time: %s", error)
                self._told = True
                with suppress(StoreError):
                    self._replica.make_room()  # for the entries of the log, without which nothing goes on

    def sweep(self, grace: float, patience: float) -> bool:
        """Delete some bundles of which nothing is left for ``grace`` seconds; False where there may be more.

        ``patience``: seconds for which that is tried.
        """
        dead = self._replica.dead(before=time.time() - grace, most=_MOST_SWEPT)
        if dead:
            self._objects.within(patience).delete([name_of(each.bundle) for each in dead])
            self._replica.bury(dead)
        return len(dead) < _MOST_SWEPT

    def get(self, bundle: bytes) -> _Values:
        """What is in a bundle now, whatever is kept of it."""
        return self._unpacked(bundle, self._read(bundle))

    def _read(self, bundle: bytes) -> bytes | None:
        return self._objects.get(name_of(bundle))

    def _unpacked(self, bundle: bytes, data: bytes | None) -> _Values:
        if data is None:
            return {}
        try:
            values = unpack_values(data)
            return dict(zip(values[::2], values[1::2], strict=True))
        except ValueError as error:
            raise damaged(self._objects.location, name_of(bundle), error) from error


class Sending:
    """One group of changes on its way into the log: what is large in it is sent first, and once.

    Args:
        objects: Where to.
    """

    def __init__(self, objects: ReliableObjects) -> None:
        self._objects = objects
        self._sent: dict[Table, list[tuple[Bundle, _Values]]] = {}

    def split(
        self, changes: Mapping[Table, Mapping[bytes, bytes | None]]
    ) -> tuple[dict[Table, Mapping[bytes, bytes | None]], list[tuple[Bundle, _Values]]]:
        """What of some changes is said in the log, and in which bundles the rest of them is."""
        said: dict[Table, Mapping[bytes, bytes | None]] = {}
        bundled: list[tuple[Bundle, _Values]] = []
        for table, values in changes.items():
            left = dict(values)
            if table in BULKY:
                bundled += self._bundled(table, left)
            if left:
                said[table] = left
        return said, bundled

    def _bundled(self, table: Table, left: dict[bytes, bytes | None]) -> Iterator[tuple[Bundle, _Values]]:
        """Take out of ``left`` what is, or now was, sent in bundles."""
        sent = self._sent.setdefault(table, [])
        known = {key for _, values in sent for key in values}
        new = {key: value for key, value in left.items() if value is not None and key not in known}
        if sum(map(len, new.values())) >= _SMALL:
            sent += [(self._send(table, part), part) for part in _parts(new)]
        for bundle, values in sent:
            wanted = {key: value for key, value in values.items() if left.get(key) == value}
            for key in wanted:
                del left[key]
            if wanted:
                yield Bundle(bundle.id, table, [*wanted], bundle.size), wanted

    def _send(self, table: Table, values: _Values) -> Bundle:
        identity = secrets.token_bytes(16)
        data = pack_values([each for entry in values.items() for each in entry])
        self._objects.create(name_of(identity), data)  # nobody else makes one of this name
        return Bundle(identity, table, [*values], len(data))


def name_of(bundle: bytes) -> str:
    """The name of a bundle's object."""
    return f"bundles/{bundle.hex()}"


def bundle_named(name: str) -> bytes | None:
    """The bundle of an object; None where it is none, as what a console leaves of a folder."""
    found = _NAME.fullmatch(name)
    return bytes.fromhex(found[1]) if found else None


def _parts(values: _Values) -> Iterator[dict[bytes, bytes]]:
    part: dict[bytes, bytes] = {}
    size = 0
    for key, value in values.items():
        if part and size + len(value) > _MOST_BYTES:
            yield part
            part, size = {}, 0
        part[key] = value
        size += len(value)
    if part:
        yield part
