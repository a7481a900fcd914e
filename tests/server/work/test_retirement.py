"""Rounds that retire beside other runs over the same store, and what is read and verified after that."""

from itertools import chain, islice, repeat

import pytest
from streaming import StreamingDataLoader

from conftest import generate, make_corpus, make_dataset, make_run, make_texts
from streamdocs import Stitch
from streamdocs.errors import MissingGenerationError
from streamdocs.generations.heartbeat import register_scope
from streamdocs.generations.records import Records
from streamdocs.ledger.verification import RETIRED, reseal_lost, verify
from streamdocs.schedule.packing import Unit, Units
from streamdocs.store import LmdbStore, SharedStore
from streamdocs_server.work import retire
from writers import ENDLESS, Writes, number_of, train

DOCUMENTS = 32
ONE = Stitch(generations=1, rounds=1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(retire, "_GRACE_SECONDS", 0)
    monkeypatch.setattr(retire, "_CHUNK", 8)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("retirement"), make_texts(DOCUMENTS, most_words=20))


@pytest.fixture(params=["folder", "shared"])
def store(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return LmdbStore(tmp_path / "store")
    monkeypatch.setattr("streamdocs.store.shared.store._PACE", 0.0)
    return SharedStore(f"file://{tmp_path}/shared", tmp_path / "cache")


def train_and_retire(corpus, store, rounds: int, *, retired: bool = True):
    """A run of which rounds retire on the way; its states, and the tokens after each."""
    retirer = retire.Retirer(store, make_dataset(corpus, store, recipe=ENDLESS, window=16).run.stream().scope)
    words = [f"a {round}" for round in range(rounds)]
    dataset, read = train(corpus, store, words, 24, retirer.retire if retired else lambda: None)
    return dataset, retirer, read


def replay(corpus, store, state):
    dataset = make_dataset(corpus, store, recipe=ENDLESS, window=16)
    loader = StreamingDataLoader(dataset, batch_size=4)
    loader.load_state_dict(state)
    return next(iter(loader))["input_ids"].tolist()


def test_what_retired_is_told_from_what_was_lost(corpus, store):
    dataset, retirer, read = train_and_retire(corpus, store, 6)
    assert retirer.retired_rounds > 1
    reports = list(verify(dataset.ledger))
    assert all(report.intact for report in reports) and not all(report.replays for report in reports)
    assert {fault.what for report in reports for fault in report.faults} == {RETIRED}
    assert "retired of documents" in str(next(report for report in reports if report.faults))
    assert reseal_lost(make_dataset(corpus, store, recipe=ENDLESS, window=16).ledger, 0) is None
    assert replay(corpus, store, read[-1][0]) == read[-1][1]
    # What is lost beside it is a fault, and sealed anew from there.
    window = read[-1][0]["position"] // 16
    units = dataset.ledger.manifest(window).units
    key = dataset.run.stream().scope.keyring.key(
        dataset.corpus.document_digest(int(units.owners[-1])), int(units.rounds[-1])
    )
    store.delete("tokens", [k for k, _ in scan(store, "tokens") if k.endswith(key.digest)])
    lost = [report.window for report in verify(dataset.ledger) if not report.intact]
    assert lost and reseal_lost(dataset.ledger, 0).window == lost[0]


def scan(store, table):
    with store.read() as snapshot:
        return list(snapshot.scan(table, b""))


def test_a_state_too_far_back_is_an_error_and_can_be_sealed_anew(corpus, store):
    _, _, read = train_and_retire(corpus, store, 5)
    old = read[2][0]
    with pytest.raises(MissingGenerationError, match="window"):
        replay(corpus, store, old)
    dataset = make_dataset(corpus, store, recipe=ENDLESS, window=16, reseal=True)
    dataset.load_state_dict(old)
    assert len(next(iter(StreamingDataLoader(dataset, batch_size=4)))["input_ids"]) == 4


def test_a_text_that_was_written_again_is_not_what_was_sealed(corpus, store):
    """A round that retired is written again by a run with the same keys, each text with as many tokens as before."""
    dataset, retirer, read = train_and_retire(corpus, store, 4)
    old, wanted = read[2]
    assert retirer.retired_rounds >= 1
    other = make_run(corpus, ONE, seed=2)
    register_scope(store, other.stream().scope)
    for word in ("a", "e"):
        generate(other, store, engine=Writes(lambda request, _, word=word: f"{word} 0 of {number_of(request)}"))
        window = dataset.ledger.manifest(old["position"] // 16)
        with store.read() as snapshot:
            faults = Records(snapshot, dataset.run.stream().scope).faults(window.units, window.checksums)
            same = Records(snapshot, dataset.run.stream().scope).faults(window.units)
        if word == "a":  # the same text: what was sealed is there again
            assert set(faults) == {""} and replay(corpus, store, old) == wanted
            for table in ("tokens", "texts", "blocks"):
                store.delete(table, [k for k, _ in scan(store, table)])
    assert set(same) == {""}, "the new texts should be as long as the old ones"
    assert set(faults) == {"another text"}
    with pytest.raises(MissingGenerationError, match="no longer holds as they were"):
        replay(corpus, store, old)


@pytest.mark.parametrize("after", range(1, 8))
def test_another_run_that_comes_while_a_round_retires_loses_nothing(corpus, store, monkeypatch, after):
    first, retirer, _ = train_and_retire(corpus, store, 3, retired=False)
    second = make_run(corpus, ONE, seed=2)
    engine = Writes(lambda request, _: f"written for the second run, of {number_of(request)}")
    delete, steps = store.delete, []

    def between(table, keys):
        steps.append(table)
        if len(steps) == after:
            register_scope(store, second.stream().scope)
            generate(second, store, engine=engine)
        return delete(table, keys)

    monkeypatch.setattr(store, "delete", between)
    assert retirer.retire() == 0 and len(steps) >= after
    documents = range(DOCUMENTS)
    with store.read() as snapshot:
        lengths = Records(snapshot, second.stream().scope).all_lengths(*(units_of(documents)))
    assert (lengths > 0).all()
    assert engine.asked < DOCUMENTS or after > 6
    assert first.run.stream().scope.id != second.stream().scope.id


def units_of(documents):
    units = Units.of([Unit(document, ()) for document in documents])
    return units.documents, units.documents * 0


def test_a_window_is_sealed_again_where_a_round_that_it_refers_to_left_meanwhile(store, tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path, make_texts(200, most_words=20))
    dataset = make_dataset(corpus, store, recipe=ENDLESS, window=16, keep_checkpoints=1)
    ledger, run = dataset.ledger, dataset.run
    blocks = run.stream().scope.generation_order.blocks_per_round
    retirer = retire.Retirer(store, run.stream().scope)
    publish, late = ledger.publish, []

    def publish_late(window, packed, reseals, oldest_round):
        if not late and oldest_round == 0 and retirer._oldest_round_in_use() == 1:
            late.append(window)
            generate(run, store, 2 * blocks, first=blocks + blocks // 2)
            assert retirer.retire() == 1
        return publish(window, packed, reseals, oldest_round)

    monkeypatch.setattr(ledger, "publish", publish_late)
    loader = StreamingDataLoader(dataset, batch_size=4)
    steps = (loader.state_dict() for _ in iter(int, 1) for _ in loader)
    generate(run, store, blocks)
    [*islice(steps, 8)]
    generate(run, store, blocks + blocks // 2, first=blocks)
    assert any(late for _ in islice(steps, 400))
    assert ledger.manifest(late[0]).oldest_round == 1
    assert all(report.intact for report in verify(ledger))


def test_a_round_stays_where_a_window_was_sealed_over_it_just_before(corpus, store, monkeypatch):
    _, retirer, _ = train_and_retire(corpus, store, 4, retired=False)
    texts = scan(store, "texts")
    in_use = chain([9], repeat(0))
    with monkeypatch.context() as patch:
        patch.setattr(retirer, "_oldest_round_in_use", lambda: next(in_use))
        assert retirer.retire() == 0 and scan(store, "texts") == texts
    assert retirer.retire() > 0
