"""Checks of what a run is made of: corpora, tokenizers, streams and their shares, and the store."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdocs._base.serving.monitor import try_monitor
from streamdocs.checks.findings import Finding, fault
from streamdocs.config import RunFile
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError, StoreError, StreamdocsError, reason
from streamdocs.generations.heartbeat import other_scopes, registered_generators
from streamdocs.generations.progress import sample_tally
from streamdocs.ledger.sealing import MOST_READS_IN_FIRST_WINDOW
from streamdocs.recipes.keys import Generator, Writers
from streamdocs.run import Run
from streamdocs.sections import ServerSection
from streamdocs.store import LmdbStore, SharedStore, Store

#: Who writes, where that is not known yet.
NOBODY = Generator(model="unknown")
#: Where no store can be made, what helps; where none of these is why, another folder does.
_MENDS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "mend the rights of {}, or name another folder"),
    errno.EROFS: "what is mounted there is read-only, name a folder elsewhere",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room, or name a folder elsewhere"),
}
#: Documents whose tokens are made again of their text.
_LOOKED_AT = 8


class Setup(NamedTuple):
    """What could be opened. run: None where that cannot be. store: None where there is none yet, or it cannot be read.

    known: Whether it is known who writes.
    """

    run: Run | None
    store: Store | None
    known: bool


def check_setup(file: RunFile, findings: list[Finding]) -> Setup:
    """Look at all that is there before a run; what is found is added to ``findings``."""
    store = _check_store(file, findings) if file.synthetic else None
    who, known = _who(file, store, findings)
    try:
        run = Run.of(file, who if file.synthetic else None, store)
    except (StreamdocsError, OSError) as error:
        findings.append(fault("corpus and streams", error))
        return Setup(None, store, known)
    for corpus in run.corpora:
        findings += _check_corpus(corpus)
    findings += _check_streams(file, run)
    if store and known:
        findings += _check_others(store, run)
    return Setup(run, store, known)


def _who(file: RunFile, store: Store | None, findings: list[Finding]) -> tuple[Writers, bool]:
    """Those who write, as the file or the store says, and whether that is known."""
    if named := file.who_writes():
        return named, True
    try:
        registered = registered_generators(store) if store else []
    except StreamdocsError as error:
        findings.append(fault("store", error))
        registered = []
    if len(registered) == 1:
        return Writers.of(registered[0]), True
    served = NOBODY.model, NOBODY.revision
    return file.who_writes(served) or Writers.of(NOBODY), False


def _check_corpus(corpus: Corpus) -> Iterator[Finding]:
    what = f"corpus {corpus.local}"
    try:
        corpus.check_shards()
        tokenizer = corpus.tokenizer
        some = np.unique(np.linspace(0, len(corpus.documents) - 1, _LOOKED_AT).astype(np.int64)).tolist()
        here = [number for number in some if corpus.is_local(number)]
        wrong = [
            number
            for number in here
            if not np.array_equal(tokenizer.encode_batch([corpus.text(number)])[0], corpus.tokens(number))
        ]
    except (StreamdocsError, OSError) as error:
        yield fault(what, error)
        return
    section = corpus.index["tokenizer"]
    if wrong:
        said = f"the tokenizer {section['name']} makes other tokens of document {wrong[0]} than the corpus has: "
        yield Finding(what, "fault", said + "another version of tokenizers made it, prepare it again")
        return
    tokens = int(corpus.tokens_per_document.sum())
    said = f"{len(corpus.documents):,} documents, {tokens:,} tokens of {section['name']} ({section['vocab_size']:,})"
    yield Finding(what, "ok", said)


def _check_streams(file: RunFile, run: Run) -> Iterator[Finding]:
    """Shares, epochs, and how often what is generated will be read."""
    mixture, epoch = run.mixture, file.mix.epoch_size or run.epoch_sequences
    shares = ", ".join(f"{share.name} {share.fraction}" for share in mixture.shares)
    yield Finding("shares", "ok", f"{shares} of {epoch:,} sequences of {mixture.max_seq_len:,} tokens an epoch")
    if epoch < mixture.window:
        said = f"an epoch of {epoch:,} sequences is less than a window of {mixture.window:,}, which is decided at once"
        yield Finding("window", "warning", f"{said}: lower mix.window")
    for number, share in enumerate(mixture.shares):
        if share.fraction and not mixture.begun_before(number, epoch):
            yield Finding("shares", "warning", f"stream {share.name} has no sequence in an epoch: raise its share")
    kinds = {"web", "mark", *(stream.recipe.kind for stream in run.synthetic)}
    if kinds <= {*file.mix.mask_labels}:
        yield Finding("mask_labels", "fault", "every kind of token is masked, and nothing is learned: leave out some")
    for stream in run.synthetic:
        recipe = stream.recipe
        rows = mixture.begun_before(stream.number, mixture.window)
        most = recipe.generations * recipe.most_tokens * len(stream.sources) * MOST_READS_IN_FIRST_WINDOW
        if recipe.generations and stream.when_behind == "reuse" and rows * mixture.max_seq_len > most:
            said = (
                f"the first window reads {rows * mixture.max_seq_len:,} tokens of {stream.name}, and all that can be "
            )
            said += f"generated is less than a {MOST_READS_IN_FIRST_WINDOW}th: lower mix.window or the share"
            yield Finding("window", "warning", said)


def _check_store(file: RunFile, findings: list[Finding]) -> Store | None:
    """Whether the store can hold one; it itself where there is one already."""
    try:
        store = file.open_store()
        if isinstance(store, SharedStore):
            store.probe()
            said = f"{store.location}: an object is created once only, read and listed at once"
        else:
            assert isinstance(store, LmdbStore)
            _probe_folder(store)
            said = f"{store.location} can be written"
        if not store.exists:
            findings.append(Finding("store", "ok", f"{said}; nothing is there yet"))
            return None
        with store.read() as snapshot:
            next(snapshot.scan("blocks", b""), None)
    except (StreamdocsError, OSError) as error:
        findings.append(fault("store", error))
        return None
    findings.append(Finding("store", "ok", said))
    return store


def _probe_folder(store: LmdbStore) -> None:
    """Try a store of a moment in the folder where one is to be; one that is there has to be writable.

    Raises:
        StoreError: It cannot be.
    """
    if store.exists:
        if store.is_read_only:
            raise StoreError(f"store {store.location} is read-only here: generations and windows cannot be written")
        return
    place = Path(store.location)
    while not place.exists():
        place = place.parent
    try:
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        with tempfile.TemporaryDirectory(prefix=".streamdocs-check-", dir=place) as folder:
            LmdbStore(os.path.join(folder, "store")).add("notes", {b"probe": b"1"})
    except OSError as error:
        what = _MENDS.get(error.errno or 0, "name another folder").format(place)
        raise StoreError(f"store {store.location} cannot be made in {place} ({reason(error)}): {what}") from error


def _check_others(store: Store, run: Run) -> Iterator[Finding]:
    """What a store has that this run does not read."""
    for stream in run.synthetic:
        if sample_tally(store, stream.scope)[0].items:
            continue
        if others := other_scopes(store, stream.scope):
            said = f"store {store.location} has nothing of stream {stream.name}, and generations of another run"
            fields = ", ".join(re.findall(r"(?:^|; )([\w ]+): ", others[0]))
            yield Finding("store", "warning", f"{said}, of another {fields}: all of it is written anew", others[0])


def check_server(section: ServerSection) -> Iterator[Finding]:
    """Whether a server could be started, as far as that does not hang on who writes."""
    try:
        try_monitor(section.monitor_host, section.monitor_port, section.monitor_token_env)
    except ConfigError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
            yield Finding("server", "warning", f"{error}: unless that is this run's own server, take another port")
        else:
            yield fault("server", error)


def free_bytes(place: str) -> int:
    """Bytes that are free where a folder is, or is to be."""
    path = Path(place)
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
