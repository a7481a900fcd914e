"""Stores: generations by key, and which of them each part of the run used."""

import os

from streamdocs._base.paths import expand_path
from streamdocs.errors import StoreError
from streamdocs.store.base import Change, Changes, Notes, Snapshot, Store, Table, Values
from streamdocs.store.lmdb import LmdbStore
from streamdocs.store.objects.open import is_url
from streamdocs.store.shared.store import SharedStore

__all__ = [
    "Change",
    "Changes",
    "LmdbStore",
    "Notes",
    "SharedStore",
    "Snapshot",
    "Store",
    "Table",
    "Values",
    "open_store",
]


def open_store(
    location: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int | None = None,
    must_exist: bool = False,
) -> Store:
    """The store at a folder, or in an object store.

    Args:
        location: A folder, made when it is first used where it is missing; or a URL: s3://, gs://, az://, file://.
        cache: Of a URL: the folder of this node for what it reads; default ``cache``.
        cache_bytes: What may lie there; default as much as there is.
        must_exist: Refuse a store that nobody ever wrote: for who only looks.

    Raises:
        ConfigError: The location has a scheme that is not known, or names a variable that is not set.
        StoreError: It must exist and does not.
    """
    where = expand_path(os.fspath(location))
    store: LmdbStore | SharedStore
    if is_url(where):
        store = SharedStore(where, expand_path(os.fspath(cache or "cache")), cache_bytes=cache_bytes)
    else:
        store = LmdbStore(where)
    if must_exist and not store.exists:
        raise StoreError(
            f"there is no store in {store.location}: either no server has written anything yet (streamdocs-server "
            "RUN_YAML), or `store` in the run file names another folder"
        )
    return store
