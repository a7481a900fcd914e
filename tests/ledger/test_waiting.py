"""Seals that a state names, and waiting: what for, how long, and when it is in vain."""

import asyncio
import json
import logging
import threading
import time

import msgpack
import pytest

from conftest import generate, make_corpus, make_dataset, make_loop, make_texts
from streamdocs import Stitch
from streamdocs.errors import StoreError, WaitTimeoutError
from streamdocs.ledger import waiting
from streamdocs.ledger.waiting import wanted_beyond
from streamdocs.store import LmdbStore
from writers import Writes, number_of

ONE = Stitch(generations=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("waiting"), make_texts(64, most_words=20))


@pytest.fixture
def filled(corpus, tmp_path):
    """Datasets over stores that hold other texts under the same keys."""

    def make(where: str, **options):
        store = LmdbStore(tmp_path / where)
        dataset = make_dataset(corpus, store, **{"recipe": ONE, "wait_timeout": 1, **options})
        if not store.size() or not any(store_blocks(store)):
            generate(dataset.run, store, engine=Writes(lambda request, _: f"{where} text of {number_of(request)}"))
        return dataset

    return make


def store_blocks(store):
    with store.read() as snapshot:
        yield from snapshot.scan("blocks", b"")


@pytest.mark.parametrize(
    ("fraction", "window", "read", "ranks"),
    [("1/16", 8, 24, 1), ("1/100", 8, 110, 1), ("1/2", 8, 8, 2), ("1/2", 4, 16, 8), ("3/4", 32, 4, 1)],
)
def test_a_state_names_the_newest_window_that_was_sealed(filled, fraction, window, read, ranks):
    """Whether or not the window before the position has something synthetic, and this rank has read from it."""
    options = {"synthetic_fraction": fraction, "window": window, "batch_size": 8 if ranks > 1 else 1, "epoch_size": 512}
    ours, theirs = filled("one", **options, rank=0, ranks=ranks), filled("another", **options, rank=0, ranks=ranks)
    iterator = iter(ours)
    for _ in range(read):
        next(iterator)
    state = json.loads(json.dumps(ours.state_dict(read * ranks, True)))
    assert state["sealed"]
    theirs[state["position"] - 1]  # somebody sealed as much there
    with pytest.raises(StoreError, match="the state comes from another store"):
        theirs.load_state_dict(state)
    filled("one", **options, rank=0, ranks=ranks).load_state_dict(state)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_states_of_an_evaluation_go_on(filled, epochs):
    make = lambda: filled("one", evaluation=True, epoch_size=16, window=8)  # noqa: E731
    dataset = make()
    first = [sample["input_ids"].tolist() for sample in dataset]
    for _ in range(epochs - 1):
        assert [sample["input_ids"].tolist() for sample in dataset] == first
    for state in (dataset.state_dict(16, True), dataset.state_dict(16, False), dataset.state_dict(8, True)):
        resumed = make()
        resumed.load_state_dict(json.loads(json.dumps(state)))
    assert [sample["input_ids"].tolist() for sample in resumed] == first


@pytest.mark.parametrize(
    "name", ["x" * 256, "名" * 256, "😀" * 256, '"\\\n' * 85], ids=["ascii", "cjk", "emoji", "escapes"]
)
def test_a_state_stays_small_with_long_names(filled, name):
    dataset = filled("one", name=name)
    dataset[40]
    state = dataset.state_dict(40, True)
    assert len(json.dumps(state)) < 4096
    filled("one", name=name).load_state_dict(json.loads(json.dumps(state)))
    filled("one", name=name).load_state_dict({**state, "fingerprint": dict(dataset.run.fingerprint)})
    with pytest.raises(StoreError.__mro__[1], match="name: "):
        filled("one", name=name[:-1]).load_state_dict(state)


@pytest.mark.parametrize("mode", ["reuse", "wait"])
@pytest.mark.parametrize("kept", [1, 2, 5])
def test_a_few_documents_with_generations_are_enough_for_any_number_of_passes(corpus, tmp_path, mode, kept):
    dataset = make_dataset(
        corpus, tmp_path / "s", recipe=ONE, synthetic_fraction=1, window=1, when_behind=mode, wait_timeout=0.2
    )
    kept_texts = {dataset.corpus.text(7 * n) for n in range(kept)}

    def text(request, _):
        return f"Of {number_of(request)}: accepted. " * 9 if request.fields["document"] in kept_texts else ""

    generate(dataset.run, dataset.store, engine=Writes(text))
    for position in range(300):
        assert dataset[position]["synthetic"]
    assert {segment.document for p in range(300) for segment in dataset.explain(p)} == {7 * n for n in range(kept)}


def test_where_every_generation_was_rejected_it_is_said_at_once(corpus, tmp_path):
    for mode in ("reuse", "wait"):
        dataset = make_dataset(
            corpus, tmp_path / mode, recipe=Stitch(generations=3, per_round=1), when_behind=mode, wait_timeout=60
        )
        generate(dataset.run, dataset.store, engine=Writes(lambda request, _: ""))
        started = time.monotonic()
        with pytest.raises(WaitTimeoutError, match="all rounds are done, and none of their generations was accepted"):
            dataset[3]
        assert time.monotonic() - started < 5


def test_a_wait_is_told_and_ends(corpus, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(waiting, "HEARTBEAT_TIMEOUT", 3.0)
    dataset = make_dataset(corpus, tmp_path / "s", recipe=ONE, when_behind="wait", wait_timeout=30)
    with caplog.at_level(logging.WARNING), pytest.raises(WaitTimeoutError, match="no generator of this corpus"):
        dataset[3]
    assert (
        "window 0 waits for generations" in caplog.text and "documents x rounds, of which 0 are resolved" in caplog.text
    )
    assert wanted_beyond(dataset.store, dataset.run.stream().scope) == 0
    dataset.store.update(b"waits/" + dataset.run.stream().scope.id + b"x", lambda _: msgpack.packb("damaged"))
    assert wanted_beyond(dataset.store, dataset.run.stream().scope) == 0


def test_a_trainer_that_waits_is_heard_however_small_max_lead_is(tmp_path):
    """Long documents come first, so that what the next window needs is estimated far too low."""
    texts = make_texts(160, most_words=6)
    dry = make_dataset(make_corpus(tmp_path, texts), tmp_path / "dry", recipe=ONE)
    first = dry.run.stream().order.order(0)[:24].tolist()
    long = [text + " and many more words." * 60 if number in first else text for number, text in enumerate(texts)]
    (tmp_path / "long").mkdir()
    corpus = make_corpus(tmp_path / "long", long)
    options = {"recipe": ONE, "max_seq_len": 128, "window": 16, "when_behind": "wait", "wait_timeout": 20}
    dataset = make_dataset(corpus, tmp_path / "s", **options)
    loop = make_loop(
        dataset.run,
        dataset.store,
        engine=Writes(lambda request, _: "A rewrite: " + request.fields["document"]),
        max_lead=1,
        max_in_flight=8,
        when_behind="wait",
    )

    async def serve():
        task = asyncio.create_task(loop.run())
        await asyncio.to_thread(done.wait, 60)
        loop.drain(0)
        await task

    done = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        for position in range(160):
            dataset[position]
    finally:
        done.set()
        thread.join()
