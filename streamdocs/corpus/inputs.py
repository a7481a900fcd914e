"""What an input consists of: the files that are read of a folder, and those that are left out, each with its reason.

By what a file is, not where: tables (JSON lines, Parquet, Arrow) are read wherever they are. Text files are documents,
unless they stand beside or above tables, or are what a folder of documents says of itself.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, TypeAlias
from urllib.parse import unquote

from streamdocs._base.compressed import COMPRESSIONS, READ_ERRORS, open_compressed
from streamdocs._base.paths import expand_path
from streamdocs.errors import ConfigError, CorpusError, some

DATASET_PREFIX = "hf://"
#: In place of a text field: every string of a row is a text.
EVERY_STRING = "*"

JSON_KINDS = (".jsonl", ".json", ".ndjson")
ARROW_KINDS = (".arrow", ".feather")
TEXT_KINDS = (".txt", ".md")
KINDS = (*JSON_KINDS, ".parquet", *ARROW_KINDS, *TEXT_KINDS)

#: What downloads are called until they are complete.
_UNFINISHED = (".aria2", ".crdownload", ".download", ".incomplete", ".part", ".partial")
_CARD = re.compile(r"(readme|licen[cs]e|copying|notice|citation|contributing|changelog)([-_.].*)?", re.IGNORECASE)
# What datasets.map leaves in a folder of save_to_disk.
_CACHE = re.compile(r"(cache-|tmp).*\.arrow")
_NUMBERED = re.compile(r"(?P<head>.*[-_.])(?P<number>\d+)-of-(?P<total>\d+)(?P<tail>\D.*)?")
_ENDING = re.compile(r"\.[a-z][a-z0-9]{0,9}")
# In the first bytes: a file of so few says where the data is, and is not the data.
_POINTERS = {
    b"version https://git-lfs.": "a pointer of Git LFS, not the data: fetch that with `git lfs pull`",
    b"version https://hawser.": "a pointer of Git LFS, not the data: fetch that with `git lfs pull`",
    b"/annex/objects/": "a pointer of git-annex, not the data: fetch that with `git annex get`",
}
# A larger JSON file is no description of a dataset.
_MOST_METADATA_BYTES = 1 << 24

_Folder: TypeAlias = tuple[int, int]


@dataclass
class Inputs:
    """What is read, in this order, and what is left out.

    files: Absolute paths, and names of datasets as they were given.
    left_out: The files by reason; of the shards that a numbered set lacks, their names.
    """

    files: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def find_inputs(inputs: Iterable[str], text_field: str = "text") -> Inputs:
    """The files and datasets that the inputs stand for.

    Raises:
        CorpusError: An input does not exist, or has nothing of a kind that can be read.
    """
    found = Inputs()
    for each in inputs:
        if each.startswith(DATASET_PREFIX):
            found.files.append(each)
        elif os.path.isdir(path := input_path(each)):
            _add_folder(path, text_field, found)
        elif not path.exists():
            raise CorpusError(f"the input {path} does not exist")
        elif kind_of(path) not in KINDS:
            kinds = f"{', '.join(KINDS)} ({', '.join(COMPRESSIONS)})"
            raise CorpusError(f"{path} is of no kind that can be read: {kinds}")
        else:
            found.files.append(str(path))
    for name, lacking in _lacking_shards(found.files):
        found.left_out[f"not there, of {name}"] += lacking
    return found


def input_path(each: str) -> Path:
    """The absolute path of an input; a name that a shell found may have a ~ or $ in it."""
    # Links stay: Hugging Face's cache links NAME.jsonl to a file without an ending.
    return Path(os.path.abspath(each if os.path.lexists(each) else expand_path(each)))


def kind_of(path: Path) -> str:
    """The ending that says how a file is read, in lower case: without that of its compression."""
    ending = path.suffix.lower()
    return Path(path.stem).suffix.lower() if ending in COMPRESSIONS else ending


def missing(file: str) -> str:
    """Why nothing of an input can be read, as its first bytes tell; "" where that is not so."""
    if file.startswith(DATASET_PREFIX):
        return ""
    try:
        status = os.stat(file)
        if not S_ISREG(status.st_mode):  # the first bytes of a pipe come once
            return "the folder cannot be listed: check its rights" if S_ISDIR(status.st_mode) else ""
        with open(file, "rb") as stream:
            head = stream.read(64)
    except OSError as error:
        annexed = os.path.islink(file) and "annex/objects" in os.readlink(file)
        return _POINTERS[b"/annex/objects/"] if annexed else error.strerror or str(error)
    reasons = [reason for start, reason in _POINTERS.items() if head.startswith(start)]
    ending = Path(file).suffix.lower()
    if ending in _UNFINISHED:
        reasons.append("a download that is not complete")
    if not head and ending in COMPRESSIONS:
        reasons.append("it has 0 bytes, as no compressed file has: a download that failed?")
    return next(iter(reasons), "")


def pick_field(fields: dict[str, Any], text_field: str) -> Any:
    """The value of a field, which may be of that name or, as ``data.text``, within others.

    Raises:
        KeyError: There is no such field.
    """
    if text_field in fields:
        return fields[text_field]
    outer, dot, inner = text_field.partition(".")
    if dot and isinstance(fields.get(outer), dict):
        return pick_field(fields[outer], inner)
    raise KeyError(text_field)


def parse_address(source: str) -> tuple[str, str, dict[str, str | list[str]]]:
    """Name, split and options of a dataset. Not as of a form: a + is a +, and what is given twice is a list."""
    address, _, query = source.removeprefix(DATASET_PREFIX).partition("?")
    name, _, split = address.partition(":")
    options: dict[str, str | list[str]] = {}
    for each in filter(None, query.split("&")):
        option, given, value = map(unquote, each.partition("="))
        if not given or option in ("path", "split", "streaming"):
            raise ConfigError(f"{source}: {each!r} is no OPTION=VALUE of load_dataset; the split is NAME:SPLIT")
        known = options.get(option, [])
        options[option] = [*([known] if isinstance(known, str) else known), value] if known else value
    return name, split or "train", options


def _add_folder(root: Path, text_field: str, found: Inputs) -> None:
    left_out = found.left_out
    tables: list[Path] = []
    texts: list[Path] = []
    files = _files_below(root, left_out)
    _check_saved_datasets(root, files)
    for path in files:
        if reason := _reason(path, text_field):
            left_out[reason].append(str(path))
        else:
            (texts if kind_of(path) in TEXT_KINDS else tables).append(path)
    above = {folder for table in tables for folder in table.parents}
    documents = [path for path in texts if path.parent not in above]
    left_out["text beside tables"] += [str(path) for path in texts if path.parent in above]
    cards = {path for path in documents if path.parent == root and _CARD.fullmatch(path.stem)}
    if len(tables) + len(documents) > len(cards):
        left_out["about the folder, by its name"] += map(str, sorted(cards))
        documents = [path for path in documents if path not in cards]
    if not tables and not documents:
        there = "; ".join(f"{len(files):,} {reason}" for reason, files in left_out.items() if files)
        raise CorpusError(
            f"the folder {root} has no files of a kind that can be read: {', '.join(KINDS)}"
            + (f" (there are: {there})" if there else "")
        )
    found.files += map(str, sorted([*tables, *documents]))


def _check_saved_datasets(root: Path, files: Sequence[Path]) -> None:
    """What ``datasets.save_to_disk`` made has to be named itself: below a folder it may be a split for a test."""
    names = {folder: {path.name for path in group} for folder, group in groupby(files, key=lambda path: path.parent)}
    saved = [folder for folder, here in names.items() if {"dataset_info.json", "state.json"} <= here and folder != root]
    if saved:
        raise CorpusError(
            f"{some(saved)}: Arrow files of datasets.save_to_disk, below the folder {root}. Name those that are to be "
            "read as inputs themselves: others may be splits for a test, or other data"
        )


def _reason(path: Path, text_field: str) -> str:
    """Why a file of a folder is left out, as it can be said of the file alone; "" where it is not."""
    if os.path.isdir(path) or not os.path.exists(path) or path.suffix.lower() in _UNFINISHED:
        return ""  # data that should be there: see ``missing``
    kind, ending = kind_of(path), path.suffix.lower()
    if kind not in KINDS:
        return f"{ending} is not read" if _ENDING.fullmatch(ending) else "no ending that is known"
    if not os.path.isfile(path):
        return "not a file"
    if _CACHE.fullmatch(path.name):
        return "a cache of the datasets library"
    if kind == ".json" and _is_metadata(path, text_field):
        return f"one JSON value without {text_field!r}: metadata"
    return ""


def _files_below(root: Path, left_out: dict[str, list[str]]) -> list[Path]:
    """All that is no folder, below links too; and the folders that cannot be listed."""
    found: list[Path] = []
    seen = {_identity(root)}

    def is_new(folder: Path) -> bool:
        try:
            identity = _identity(folder)
        except OSError:
            return True  # which os.walk reports
        return identity not in seen and not seen.add(identity)  # type: ignore[func-returns-value]

    def note(error: OSError) -> None:
        found.append(Path(os.fsdecode(error.filename)))

    for where, folders, names in os.walk(root, followlinks=True, onerror=note):
        here = Path(where)
        # Caches and unfinished work, not documents.
        left_out["hidden"] += [str(here / name) for name in sorted([*folders, *names]) if name.startswith(".")]
        # A folder that is linked is read where it is, if it is here; and a link upwards would never end.
        shown = sorted((os.path.islink(here / each), each) for each in folders if not each.startswith("."))
        folders[:] = [each for _, each in shown if is_new(here / each)]
        found += [here / name for name in names if not name.startswith(".")]
    return sorted(found)


def _identity(folder: Path) -> _Folder:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_metadata(path: Path, text_field: str) -> bool:
    """Whether a file is one JSON value, not a row a line, that has no text in the field."""
    try:
        with open_compressed(str(path), path.suffix.lower()) as stream:
            data = stream.read(_MOST_METADATA_BYTES + 1)
        value = json.loads(data) if len(data) <= _MOST_METADATA_BYTES else {text_field: ""}
    except (*READ_ERRORS, ValueError, RecursionError, MemoryError):
        return False
    if text_field == EVERY_STRING:
        return isinstance(value, dict)
    rows = value if isinstance(value, list) else [value]
    return not any(isinstance(row, dict) and _has_field(row, text_field) for row in rows)


def _has_field(fields: dict[str, Any], text_field: str) -> bool:
    try:
        pick_field(fields, text_field)
    except KeyError:
        return False
    return True


def _lacking_shards(files: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
    """The sets of files that are numbered, as 00003-of-00008, and not all there: their names, and what is lacking."""
    sets: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    widths: Counter[tuple[str, str, str]] = Counter()
    for match in filter(None, map(_NUMBERED.fullmatch, files)):
        name = match["head"], match["total"], match["tail"] or ""
        sets[name].add(int(match["number"]))
        widths[name] = len(match["number"])
    for name, numbers in sets.items():
        (head, total, tail), width = name, widths[name]
        first = 0 if 0 in numbers else 1
        lacking = [n for n in range(first, first + min(int(total), 1 << 20)) if n not in numbers]
        if lacking:
            pattern = f"{os.path.basename(head)}*-of-{total}{tail}"
            yield pattern, [f"{head}{n:0{width}}-of-{total}{tail}" for n in lacking]
