"""Stores: generations by key, and which of them each part of the run used."""

import os

from streamdocs._base.paths import expand_path
from streamdocs.errors import ConfigError, StoreError
from streamdocs.store.base import Snapshot, Store, Table, Values
from streamdocs.store.lmdb import LmdbStore

__all__ = ["LmdbStore", "Snapshot", "Store", "Table", "Values", "open_store"]


def open_store(location: str | os.PathLike[str], *, must_exist: bool = False) -> Store:
    """The store at a folder.

    Args:
        location: Made when it is first used, where it is missing.
        must_exist: Refuse it instead: for who only looks.

    Raises:
        ConfigError: The location has a scheme that is not known, or names a variable that is not set.
        StoreError: It must exist and does not.
    """
    if "://" in os.fspath(location):
        raise ConfigError(f"store {location}: only folders are supported")
    store = LmdbStore(expand_path(os.fspath(location)))
    if must_exist and not store.exists:
        raise StoreError(
            f"there is no store in {store.location}: either no server has written anything yet (streamdocs-server "
            "RUN_YAML), or `store` in the run file names another folder"
        )
    return store
