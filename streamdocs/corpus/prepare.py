"""Makes a corpus: reads documents, drops what cannot be used, tokenises, and writes MDS shards."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from streamdocs._base.arrays import Tokens
from streamdocs._base.console import plain_console
from streamdocs._base.hashing import fingerprint
from streamdocs._base.paths import expand_path
from streamdocs._base.unfinished import new_folder
from streamdocs.corpus.columns.values import Keeping
from streamdocs.corpus.files import FORMAT, INDEX_FILE, is_held_out, load_index, save_index
from streamdocs.corpus.inputs import DATASET_PREFIX, find_inputs, input_path
from streamdocs.corpus.report import InputReport
from streamdocs.corpus.sources import BadRow, Document, Row, check_fields, read_file
from streamdocs.corpus.tokenizing.tokenizer import CorpusTokenizer
from streamdocs.errors import ConfigError, CorpusError, reason
from streamdocs.recipes import MARKS

# What is tokenised at a time: enough for all cores, little beside a shard.
BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 1 << 22
# With at most 1 GiB of text this keeps a sample within MDS's 32-bit offsets.
MAX_TOKEN_BYTES = (3 << 30) - (1 << 20)

Batch: TypeAlias = list[tuple[Document, bytes]]


def prepare_corpus(
    inputs: Sequence[str],
    out: str | Path,
    *,
    tokenizer: str | None = None,
    train_tokenizer: int | None = None,
    text_field: str = "text",
    keep: Sequence[str] = (),
    holdout: float = 0.0,
    max_bad: float = 0.01,
    shard_bytes: int = 1 << 26,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Make the corpus ``out`` of the inputs (see ``read_documents``) and return its report.

    ``tokenizer`` is a name or path, ``train_tokenizer`` a vocabulary size: one of the two. ``keep`` names fields whose
    values become columns of the corpus, for ``Corpus.select``: numbers, and strings of up to 4,096 bytes; of equal
    documents the first one's. ``holdout`` is the share of documents that make a split of their own. ``max_bad`` is how
    many rows may be unusable: a number, or below 1 a share of all rows; by default one in a hundred, so that a few
    broken lines stop nobody and a wrong text field does. Only where it is infinite may an input end in what cannot be
    read at all: how many rows that are is not known.
    Where ``out`` is there already, made of the same inputs with the same options, its report is returned.
    Whatever is raised, ``out`` stays as it was: ``ConfigError`` for options that cannot be, ``BadInputError`` for too
    many unusable rows, ``CorpusError`` for inputs or folders that cannot be used or no documents at all.
    """
    _check_options(tokenizer, train_tokenizer, holdout, max_bad, shard_bytes)
    if isinstance(keep, str) or not all(keep):
        raise ConfigError("--keep is a list of fields, and each has a name")
    keep = sorted({*keep})
    out = Path(expand_path(os.fspath(out))).resolve()
    found = find_inputs(inputs, text_field)
    files = found.files
    _refuse_overlap(inputs, out)
    known = CorpusTokenizer.from_name_or_path(tokenizer) if tokenizer else None
    made_from = {
        "inputs": _inputs_digest(files),
        "tokenizer": known.digest if known else train_tokenizer,
        "text_field": text_field,
        "holdout": holdout,
        "shard_bytes": shard_bytes,
        **({"keep": keep} if keep else {}),
    }
    finished = _find_finished(out, made_from, overwrite)
    if finished is not None:
        plain_console(stderr=True, quiet=not progress).print(f"{out} is there already, made of the same inputs.")
        return finished
    counts = InputReport(max_bad)
    counts.check_missing(files)
    check_fields(files, text_field, keep)
    keeping = Keeping(keep)
    try:
        with new_folder(out, replace=overwrite) as folder, _progress_bar(progress) as bar:
            first_pass = counts.readable(_read(files, text_field, (), bar, "training a tokenizer"))
            chosen = known or _train(first_pass, train_tokenizer or 0)
            rows = counts.readable(_read(files, text_field, keep, bar, "tokenising"))
            splits = _write_splits(rows, counts, keeping, chosen, folder, holdout=holdout, shard_bytes=shard_bytes)
            counts.check()
            if "train" not in splits:
                raise CorpusError(f"no documents to train on in {', '.join(inputs)} ({counts.rows} rows read)")
            kept = {"columns": keeping.as_dict()} if keep else {}
            report = {**counts.as_dict(found), **kept, "made_from": made_from}
            described = {**chosen.describe(), "marks": {mark: chosen.encode_marks(mark).tolist() for mark in MARKS}}
            index = {"format": FORMAT, "tokenizer": described, "splits": splits, "report": report}
            chosen.save(folder)
            save_index(folder, index)
    except OSError as error:
        raise CorpusError(f"{out} cannot be written: {reason(error)}") from error
    return report


def _check_options(
    tokenizer: str | None, train_tokenizer: int | None, holdout: float, max_bad: float, shard_bytes: int
) -> None:
    if (tokenizer is None) == (train_tokenizer is None):
        raise ConfigError("give either --tokenizer NAME_OR_PATH or --train-tokenizer VOCABULARY_SIZE")
    if not 0 <= holdout < 1:
        raise ConfigError(f"--holdout is a share of the documents, at least 0 and below 1, not {holdout}")
    if not max_bad >= 0:
        raise ConfigError(f"--max-bad is a number of rows, or below 1 a share of them, not {max_bad}")
    if not 0 < shard_bytes < 1 << 32:
        raise ConfigError(f"shards have up to 4 GiB, not {shard_bytes} bytes")


def _refuse_overlap(inputs: Sequence[str], out: Path) -> None:
    for path in (input_path(each).resolve() for each in inputs if not each.startswith(DATASET_PREFIX)):
        if out.is_relative_to(path) or path.is_relative_to(out):
            raise CorpusError(f"the corpus {out} and its input {path} are one inside the other: pick another folder")


def _inputs_digest(files: Sequence[str]) -> str:
    # What is not there, see ``missing``, has no size.
    stats = [os.stat(file) if os.path.exists(file) else None for file in files]
    sizes = [(stat.st_size, stat.st_mtime_ns) if stat else None for stat in stats]
    return fingerprint([[os.fsencode(file) for file in files], sizes])


def _find_finished(out: Path, made_from: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The report of the same corpus, where it is there already; None where there is room for a new one."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / INDEX_FILE).is_file():
        raise CorpusError(f"{out} is there already and is not a corpus: pick another folder")
    if overwrite:
        return None
    report: dict[str, Any] = load_index(out)["report"]
    before = report.get("made_from", {})
    differing = [name for name in {**made_from, **before} if before.get(name) != made_from.get(name)]
    if differing:
        raise CorpusError(
            f"{out} is a corpus already, and its {', '.join(differing)} differ: pick another folder or pass --overwrite"
        )
    return report


def _progress_bar(show: bool) -> Progress:
    rows = TextColumn("files, {task.fields[rows]:,} rows")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rows)
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not show)


def _read(files: Sequence[str], text_field: str, keep: Sequence[str], bar: Progress, doing: str) -> Iterator[Row]:
    task = bar.add_task(doing, total=len(files), rows=0)
    rows = 0
    for file in files:
        for row in read_file(file, text_field, keep):
            rows += 1
            if rows % 256 == 0:
                bar.update(task, rows=rows)
            yield row
        bar.update(task, advance=1, rows=rows)


def _train(rows: Iterable[Row], vocab_size: int) -> CorpusTokenizer:
    return CorpusTokenizer.train((row.text for row in rows if isinstance(row, Document)), vocab_size)


def _write_splits(
    rows: Iterable[Row],
    counts: InputReport,
    keeping: Keeping,
    tokenizer: CorpusTokenizer,
    folder: Path,
    *,
    holdout: float,
    shard_bytes: int,
) -> dict[str, dict[str, Any]]:
    from streamdocs.corpus import write  # noqa: PLC0415  (importing streaming takes ten seconds)

    writers: dict[str, write.SplitWriter] = {}
    try:
        for document, digest, tokens in _encode(_batches(counts.unique_documents(rows)), tokenizer):
            if len(tokens) == 0 or tokens.nbytes > MAX_TOKEN_BYTES:
                counts.add_bad(BadRow(document.file, document.row, "too long" if len(tokens) else "empty"))
                continue
            split = "holdout" if is_held_out(digest, holdout) else "train"
            if split not in writers:
                writers[split] = write.SplitWriter(folder / split, tokenizer.dtype, shard_bytes, keeping)
            writers[split].write(document.text, tokens, digest, document.kept)
        return {split: writers[split].finish(tokenizer.digest) for split in sorted(writers, reverse=True)}
    finally:
        for writer in writers.values():
            writer.close()


def _batches(documents: Iterable[tuple[Document, bytes]]) -> Iterator[Batch]:
    batch: Batch = []
    characters = 0
    for document, digest in documents:
        batch.append((document, digest))
        characters += len(document.text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    yield batch


def _encode(batches: Iterable[Batch], tokenizer: CorpusTokenizer) -> Iterator[tuple[Document, bytes, Tokens]]:
    """Tokenise each batch, on all cores, while the batch before is written and the next one is read."""
    waiting: deque[tuple[Batch, Future[list[Tokens]]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for batch in chain(batches, [[]]):
            waiting.append((batch, pool.submit(tokenizer.encode_batch, [document.text for document, _ in batch])))
            if len(waiting) > 1:
                done, tokens = waiting.popleft()
                yield from ((*pair, array) for pair, array in zip(done, tokens.result(), strict=True))
