"""The files of a corpus: shards are mapped, and what is missing is downloaded, within a limit of bytes on the disk."""

import errno
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from streaming.base.storage.download import CloudDownloader

from streamdocs._base.unfinished import remove, unfinished
from streamdocs.corpus.files import PREPARE_AGAIN
from streamdocs.errors import CorpusError, reason

RAISE_LIMIT = "something keeps many other files open; close some, or allow for more with `ulimit -n`"


@dataclass(frozen=True, slots=True)
class CorpusFiles:
    """Where the files of a corpus are, and where those that are missing come from.

    Args:
        local: Folder of the corpus.
        remote: Any location that streaming knows; None where there is no other.
        timeout: Seconds for one file.
        retry: Further tries for one file.
    """

    local: Path
    remote: str | None
    timeout: float
    retry: int

    def fetch(self, name: str) -> Path:
        """The local path of a file of the corpus, downloaded first where it is missing."""
        path = self.local / name
        if self.remote is not None and not path.exists():
            with self.download(name):
                pass
        return path

    @contextmanager
    def download(self, name: str) -> Iterator[Path]:
        """A file of the corpus, at a place of its own; it takes its name at the end, unless something is raised.

        Several processes may download the same file: the last one to be ready wins.

        Raises:
            CorpusError: It cannot be downloaded.
        """
        path = self.local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = unfinished(path)
        folder.mkdir()
        try:
            self._download(name, folder / path.name)
            yield folder / path.name
            os.replace(folder / path.name, path)
        finally:
            remove(folder)

    def _download(self, name: str, path: Path) -> None:
        for tries_left in range(self.retry, -1, -1):
            try:
                CloudDownloader.direct_download(f"{self.remote}/{name}", str(path), self.timeout)
                break
            except Exception as error:  # every provider has exceptions of its own
                if not tries_left:
                    raise CorpusError(f"{self.remote}/{name} cannot be downloaded: {error}") from error


class MappedShard(NamedTuple):
    """The bytes of a shard; where in them each document begins, and where the last one ends; and which file it is."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.uint32]
    inode: int


class Shards:
    """The shards of a split, each mapped when it is first asked for.

    Processes may share a folder, and threads a process: two that miss the same shard download it both. Only who maps a
    shard looks at the limit, so each other process that downloads at the same time may add one shard to it; and the
    room of a shard that was deleted is free when everybody who has it mapped has mapped another one, or has downloaded
    one where there is no limit.

    Args:
        files: The files of the corpus.
        split: Name of the split.
        index: Its shards, as ``load_shards`` returns them.
        limit: Most bytes of shards to keep where they are downloaded; None for any number.
    """

    def __init__(self, files: CorpusFiles, split: str, index: Sequence[dict[str, Any]], limit: int | None) -> None:
        self._files = files
        self._split = split
        self._names = [shard["raw_data"]["basename"] for shard in index]
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._sizes = [int(shard["raw_data"]["bytes"]) for shard in index]
        self._documents = [int(shard["samples"]) for shard in index]
        self._limit = math.inf if limit is None or files.remote is None else limit
        #: Those that are mapped, by their numbers.
        self.mapped: dict[int, MappedShard] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "mapped": {}}

    def map(self, shard: int) -> MappedShard:
        """Map a shard, downloaded first where it is missing.

        Raises:
            CorpusError: It is damaged, or cannot be had.
        """
        try:
            mapped = self.mapped[shard] = self._open_or_download(shard)
        except OSError as error:
            what_to_do = RAISE_LIMIT if error.errno in (errno.EMFILE, errno.ENFILE) else PREPARE_AGAIN
            raise CorpusError(f"{self._path(shard)} cannot be read ({reason(error)}): {what_to_do}") from error
        return mapped

    def check(self) -> None:
        """Look at all shards, but for those that can be downloaded.

        Raises:
            CorpusError: One is missing, or of another size than the index says.
        """
        for shard in range(len(self._names)):
            path = self._path(shard)
            try:
                if self._files.remote is None or path.exists():
                    self._open(shard, path)
            except OSError as error:
                raise CorpusError(f"{path} cannot be read ({reason(error)}): {PREPARE_AGAIN}") from error

    def _path(self, shard: int) -> Path:
        return self._files.local / self._split / self._names[shard]

    def _open_or_download(self, shard: int) -> MappedShard:
        mapped = None
        try:
            mapped = self._open(shard, self._path(shard))
        except FileNotFoundError:
            if self._files.remote is None:
                raise
        if self._limit < math.inf or mapped is None:  # with a limit, others may have deleted what is mapped here
            self._make_room(shard)
        if mapped is not None:
            return mapped
        # Mapped before it takes its name: from then on any process may delete it.
        with self._files.download(f"{self._split}/{self._names[shard]}") as path:
            return self._open(shard, path)

    def _open(self, shard: int, path: Path) -> MappedShard:
        found, documents = path.stat(), self._documents[shard]
        if found.st_size != self._sizes[shard] or found.st_size < 4 * (documents + 2):
            raise CorpusError(
                f"{self._path(shard)} has {found.st_size} bytes, the index says {self._sizes[shard]} with "
                f"{documents} documents: {PREPARE_AGAIN}"
            )
        data = _map_file(path)
        return MappedShard(data, data[4 : 4 * (documents + 2)].view(np.uint32), found.st_ino)

    def _make_room(self, shard: int) -> None:
        """Delete the shards fetched longest ago until this one fits, and let go of all that anybody has deleted."""
        present = self._present()
        others = sorted(present.keys() - {shard}, key=lambda number: present[number].st_mtime_ns)
        used = self._sizes[shard] + sum(self._sizes[number] for number in others)
        for oldest in others:
            if used <= self._limit:
                break
            self._path(oldest).unlink(missing_ok=True)
            del present[oldest]
            used -= self._sizes[oldest]
        for number, mapped in list(self.mapped.items()):
            # A file that was fetched again is another one, and what is mapped still takes room.
            if number not in present or present[number].st_ino != mapped.inode:
                self.mapped.pop(number, None)

    def _present(self) -> dict[int, os.stat_result]:
        found = {}
        with os.scandir(self._files.local / self._split) as entries:
            for entry in entries:
                if (number := self._numbers.get(entry.name)) is not None:
                    with suppress(FileNotFoundError):  # another process deleted it just now
                        found[number] = entry.stat()
        return found


def _map_file(path: Path) -> npt.NDArray[np.uint8]:
    """The bytes of a file that is not empty, mapped until the last view of them is gone."""
    # Python's own mapping keeps its file open, and a large corpus has more shards than a process may have open files.
    with pa.memory_map(os.fsencode(path)) as file:
        first = file.read_buffer(1)  # keeps all mapped; more of it would be read from the disk at once
        return np.frombuffer(pa.foreign_buffer(first.address, file.size(), first), np.uint8)
