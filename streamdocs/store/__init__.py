"""Stores: generations by key, and which of them each part of the run used."""

import os

from streamdocs.errors import ConfigError
from streamdocs.store.base import Snapshot, Store, Table, Values
from streamdocs.store.lmdb import LmdbStore

__all__ = ["LmdbStore", "Snapshot", "Store", "Table", "Values", "open_store"]


def open_store(location: str | os.PathLike[str]) -> Store:
    """The store at a folder.

    Raises:
        ConfigError: The location has a scheme that is not known.
    """
    if "://" in os.fspath(location):
        raise ConfigError(f"store {location}: only folders are supported")
    return LmdbStore(location)
