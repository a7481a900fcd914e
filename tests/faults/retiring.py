"""Rounds that leave the store while others need them, texts that are written again, and states of other stores."""

import json
import random
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

from streaming import StreamingDataLoader

from conftest import generate, make_corpus, make_dataset, make_run, make_texts
from faults.corruption import describe
from faults.table import Outcome, fault, is_clear
from streamdocs import Stitch
from streamdocs.errors import StreamdocsError
from streamdocs.generations.heartbeat import register_scope
from streamdocs.generations.records import Records
from streamdocs.schedule.packing import Unit, Units
from streamdocs.store import LmdbStore
from streamdocs_server.work import retire
from writers import ENDLESS, Writes, number_of, train

DOCUMENTS = 48
ONE = Stitch(generations=1, rounds=1)


@fault("a round retires while another run begins", 40, 3)
def retired_beside_another(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """What the other run has found, or has written, is there afterwards."""
    outcome = Outcome(tried=tries)
    corpus = make_corpus(folder, make_texts(DOCUMENTS, most_words=20))
    for number in range(tries):
        store = LmdbStore(folder / str(number))
        first, _ = train(corpus, store, "abe", 30)
        second = make_run(corpus, ONE, seed=rng.randrange(100, 200))
        retirer, delete, steps = retire.Retirer(store, first.run.stream().scope), store.delete, iter(range(1 << 30))
        when, began = rng.randrange(12), time.monotonic()

        def between(table, keys, *, delete=delete, steps=steps, when=when, second=second, store=store):
            if next(steps) == when:
                register_scope(store, second.stream().scope)
                generate(second, store, engine=Writes(lambda request, _: f"f of {number_of(request)}"))
            return delete(table, keys)

        with (
            patch.multiple(retire, _GRACE_SECONDS=0, _CHUNK=rng.choice((4, 8, 16))),
            patch.object(store, "delete", between),
        ):
            retirer.retire()
        documents = Units.of([Unit(document, ()) for document in range(DOCUMENTS)]).documents
        if next(steps) > when:
            with store.read() as snapshot:
                outcome.lost += int(
                    (Records(snapshot, second.stream().scope).all_lengths(documents, 0 * documents) == 0).sum()
                )
        outcome.took(time.monotonic() - began)
    return outcome


@fault("a retired round is written again", 20, 2)
def written_again(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """States that need it are refused, and others go on; never is another text read, however long it is."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    corpus = make_corpus(folder, make_texts(DOCUMENTS, most_words=20))
    for number in range(tries):
        store = LmdbStore(folder / str(number))
        dataset, read = train(corpus, store, "aefg", 30)
        with patch.object(retire, "_GRACE_SECONDS", 0):
            assert retire.Retirer(store, dataset.run.stream().scope).retire() > 0
        other, letters = make_run(corpus, ONE, seed=2), rng.choice(("a", "e", "ae", "aefg"))
        generate(
            other, store, engine=Writes(lambda request, _, some=letters: f"{rng.choice(some)} of {number_of(request)}")
        )
        for state, wanted in rng.sample(read, 8):
            loader = StreamingDataLoader(make_dataset(corpus, store, recipe=ENDLESS, window=16), batch_size=4)
            try:
                loader.load_state_dict(state)
                outcome.wrong += next(iter(loader))["input_ids"].tolist() != wanted
                seen["read"] += 1
            except StreamdocsError as error:
                assert is_clear(error), error
                seen["refused"] += 1
    assert seen["read"] and seen["refused"], "one of the two should be tried"
    outcome.note = describe(seen)
    return outcome


@fault("a state of another store", 60, 5)
def other_store(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Refused whatever the mixture, the windows and the number of ranks; in its own store it goes on."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    corpus = make_corpus(folder, make_texts(DOCUMENTS, most_words=20))
    for number in range(tries):
        ranks = rng.choice((1, 2, 4))
        options = {
            "recipe": Stitch(generations=1),
            "synthetic_fraction": rng.choice(("1/64", "1/16", "1/2", "1")),
            "window": rng.choice((4, 8, 32)),
            "rank": rng.randrange(ranks),
            "ranks": ranks,
            "epoch_size": 2048,
        }
        ours, theirs = (make_dataset(corpus, folder / f"{number}{letter}", **options) for letter in "ab")
        for dataset, letter in ((ours, "a"), (theirs, "e")):
            generate(
                dataset.run,
                dataset.store,
                engine=Writes(lambda request, _, letter=letter: f"{letter} of {number_of(request)}"),
            )
        read = rng.randrange(1, 60) * 4
        for _ in zip(range(read), ours, strict=False):
            pass
        state = json.loads(json.dumps(ours.state_dict(read * ranks, True)))
        _ = ours[state["position"] - 1], theirs[state["position"] - 1]  # other ranks read as far
        make_dataset(corpus, ours.store, **options).load_state_dict(state)
        if ours.run.mixture.last_before(ours.run.stream().number, state["position"]) < 0:
            seen["nothing synthetic yet"] += 1
            continue
        try:
            theirs.load_state_dict(state)
            outcome.wrong += 1
        except StreamdocsError as error:
            assert is_clear(error), error
            seen["refused"] += 1
    outcome.note = describe(seen)
    return outcome
