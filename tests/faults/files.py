"""Files that were damaged or cut short: shards, indexes, the tokenizer, a ledger, the store's own."""

import random
import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path

from exactness import Child
from faults.corruption import RECIPE, check, describe, flipped, intact, resume
from faults.table import Outcome, fault, is_clear
from faults.world import dataset_of
from streamdocs.corpus import CorpusTokenizer
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import CorpusError, LedgerFileError
from streamdocs.ledger.file import LedgerFile, export_ledger

FILES = {
    "an MDS shard": "train/shard.*.mds",
    "corpus.json": "corpus.json",
    "the shards' index.json": "train/index.json",
    "documents.npy": "train/documents.npy",
}


def damaged(pattern: str, cut: bool, folder: Path, tries: int, rng: random.Random) -> Outcome:
    """A file of the corpus, put right again afterwards."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    whole = intact(folder)
    files = sorted(whole.corpus.glob(pattern))
    for _ in range(tries):
        file = rng.choice(files)
        data = file.read_bytes()
        file.write_bytes(data[: rng.randrange(len(data))] if cut else flipped(data, rng))
        result = resume(whole, whole.corpus, whole.store, 0 if cut else rng.randrange(len(whole.states)))
        check(outcome, seen, result)
        assert not cut or result[1], f"{file} was cut short, and nobody noticed"
        file.write_bytes(data)
        began = time.monotonic()
        again = resume(whole, whole.corpus, whole.store, -1)
        assert again == (0, "", True), again
        outcome.took(time.monotonic() - began)
    outcome.note = describe(seen)
    return outcome


for name, pattern in FILES.items():
    fault(f"bit flipped in {name}", 60, 4)(partial(damaged, pattern, False))
    fault(f"{name}, cut short", 20, 2)(partial(damaged, pattern, True))


def tokenizer_damaged(cut: bool, folder: Path, tries: int, rng: random.Random) -> Outcome:
    """A trainer does without it; who needs it gets the one that was, or an error."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    whole = intact(folder)
    text = Corpus(whole.corpus).text(0)
    tokens = CorpusTokenizer.load(whole.corpus).encode_batch([text])[0].tolist()
    file = whole.corpus / "tokenizer.json"
    data = file.read_bytes()
    for _ in range(tries):
        file.write_bytes(data[: rng.randrange(len(data))] if cut else flipped(data, rng))
        assert resume(whole, whole.corpus, whole.store, rng.randrange(len(whole.states))) == (0, "", True)
        try:
            found, error = CorpusTokenizer.load(whole.corpus).encode_batch([text])[0].tolist(), ""
        except CorpusError as problem:
            found, error = tokens, f"{type(problem).__name__}: {problem}"
            assert is_clear(problem), problem
        assert error or not cut, "it was cut short, and nobody noticed"
        check(outcome, seen, (int(found != tokens), error, True))
    outcome.note = describe(seen)
    return outcome


fault("bit flipped in tokenizer.json", 60, 4)(partial(tokenizer_damaged, False))
fault("tokenizer.json, cut short", 20, 2)(partial(tokenizer_damaged, True))


@fault("the store's file, cut short", 25, 3)
def store_cut(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """What is beyond its end is an error, also where that end kills who reads there."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    whole = intact(folder)
    data = (whole.store / "data.mdb").read_bytes()
    for number in range(tries):
        store = folder / f"store-{number}"
        shutil.copytree(whole.store, store)
        (store / "data.mdb").write_bytes(data[: rng.randrange(len(data))])
        result = Child(resume, whole, whole.corpus, store, rng.randrange(len(whole.states))).result()
        check(outcome, seen, result)
        shutil.rmtree(store)
    outcome.note = describe(seen)
    return outcome


@fault("an exported ledger, cut short", 50, 5)
def ledger_cut(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """It is refused."""
    outcome = Outcome(tried=tries)
    whole = intact(folder)
    path = folder / "run.ledger"
    export_ledger(dataset_of(whole.corpus, whole.store, RECIPE).ledger).save(path)
    data = path.read_bytes()
    for _ in range(tries):
        path.write_bytes(data[: rng.randrange(len(data))])
        try:
            LedgerFile.load(path)
        except LedgerFileError as error:
            assert is_clear(error), error
        else:
            outcome.wrong += 1
    return outcome
