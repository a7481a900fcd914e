"""The dataset as users meet it: through DataLoaders, in several processes, stopped and resumed."""

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streaming import StreamingDataLoader, StreamingDataset
from torch.utils.data import DataLoader

from conftest import OPEN_GATES, STITCH, TEMPLATE, forked, generate, make_corpus, make_dataset, make_run, make_texts
from streamdocs import Generator, Rephrase, Stitch, Stretch
from streamdocs.errors import (
    ConfigError,
    CorpusError,
    MissingGenerationError,
    StoreError,
    WaitTimeoutError,
)
from streamdocs.generations.heartbeat import Listener, beat, register_generator, stop_beating
from streamdocs.generations.progress import read_tallies, total
from streamdocs.generations.records import token_key
from streamdocs.ledger.windows import windows_in_use
from streamdocs.store import LmdbStore


def batches_of(dataset, workers=0, **options) -> list[dict[str, torch.Tensor]]:
    return list(StreamingDataLoader(dataset, batch_size=dataset.batch_size, num_workers=workers, **options))


def tokens_of(batches) -> list[bytes]:
    return [batch["input_ids"].numpy().tobytes() for batch in batches]


def test_is_a_streaming_dataset_and_a_plain_one(small_corpus, full_store):
    dataset = make_dataset(small_corpus, full_store)
    assert isinstance(dataset, StreamingDataset)
    sample = dataset[3]
    assert {name: (column.dtype, column.shape) for name, column in sample.items()} == {
        "input_ids": (torch.int64, (64,)),
        "labels": (torch.int64, (64,)),
        "position": (torch.int64, ()),
        "synthetic": (torch.bool, ()),
        "stream": (torch.int64, ()),
    }
    batches = list(DataLoader(dataset, batch_size=4))
    assert len(batches) * 4 == len(dataset) == dataset.epoch_size
    assert batches[0]["input_ids"].shape == (4, 64)


@pytest.mark.parametrize("recipe", [STITCH, Stretch(generations=4, per_round=2), Rephrase(generations=3)])
def test_nothing_depends_on_the_number_of_workers(small_corpus, store, recipe):
    generate(make_run(small_corpus, recipe), store, blocks=4)
    epochs = {}
    for workers in (0, 1, 3):
        dataset = make_dataset(small_corpus, store, recipe=recipe)
        loader = StreamingDataLoader(dataset, batch_size=4, num_workers=workers)
        epochs[workers] = [tokens_of(loader), tokens_of(loader)]
    assert epochs[0] == epochs[1] == epochs[3]
    assert epochs[0][0] != epochs[0][1]


@pytest.mark.parametrize("options", [{"persistent_workers": True}, {"multiprocessing_context": "spawn"}])
def test_workers_of_every_kind(small_corpus, full_store, options):
    expected = make_dataset(small_corpus, full_store)
    loader = StreamingDataLoader(make_dataset(small_corpus, full_store), batch_size=4, num_workers=2, **options)
    for _ in range(2 if "persistent_workers" in options else 1):  # spawning takes long
        assert tokens_of(loader) == tokens_of(batches_of(expected))


def test_every_web_token_is_read_exactly_once_a_pass(small_corpus):
    dataset = make_dataset(small_corpus, max_seq_len=50, batch_size=1, window=1)
    passes = dataset.run.web[0].tokens * 2
    rows = torch.cat([dataset[p]["input_ids"] for p in range(-(-passes // 50))]).numpy()
    tokenizer = dataset.corpus.tokenizer
    documents = [dataset.corpus.tokens(d).tolist() for d in range(100)]
    expected = Counter((tokenizer.bos, *tokens, tokenizer.eos) for tokens in documents)
    for start in (0, dataset.run.web[0].tokens):
        one = rows[start : start + dataset.run.web[0].tokens]
        ends = np.flatnonzero(one == tokenizer.eos) + 1
        assert Counter(tuple(part.tolist()) for part in np.split(one, ends)[:-1]) == expected


def test_the_mix_is_exact_in_every_batch(small_corpus, full_store):
    for fraction in ("0.1", "0.75", "0.9", "1"):
        dataset = make_dataset(small_corpus, full_store, synthetic_fraction=fraction, batch_size=8)
        for batch in batches_of(dataset):
            assert abs(int(batch["synthetic"].sum()) - 8 * float(fraction)) < 1


def test_web_text_is_the_same_whatever_is_mixed_in(small_corpus, full_store):
    def web(**options) -> list[bytes]:
        # Nothing is shuffled in a window of one, so web sequences come in the order of their stream.
        dataset = make_dataset(small_corpus, batch_size=1, window=1, **options)
        rows = [dataset[p] for p in range(dataset.epoch_size)]
        return [row["input_ids"].numpy().tobytes() for row in rows if not row["synthetic"]]

    alone = web()
    for fraction in (0.5, 0.75):
        assert web(store=full_store, synthetic_fraction=fraction)[: len(alone)] == alone
    filled = web(store=full_store, synthetic_fraction=0.5, recipe=Stitch(generations=8), when_behind="web")
    assert set(alone) < set(filled)


def test_explain_accounts_for_every_token(small_corpus, store):
    recipes = (Stitch(generations=2, per_round=1), Stretch(generations=3), Rephrase(generations=2))
    for recipe in recipes:
        generate(make_run(small_corpus, recipe), store)
        dataset = make_dataset(small_corpus, store, recipe=recipe)
        for position in range(0, 96):
            tokens, segments = dataset[position]["input_ids"].numpy(), dataset.explain(position)
            assert [s.start for s in segments] == [0, *(s.stop for s in segments[:-1])]
            assert segments[-1].stop == 64
            for segment in segments:
                source = source_of(dataset, store, segment)
                if source is not None:
                    here = source[segment.offset : segment.offset + segment.stop - segment.start]
                    np.testing.assert_array_equal(tokens[segment.start : segment.stop], here)
        kinds = {segment.kind for position in range(96) for segment in dataset.explain(position)}
        assert kinds == {"web", "mark", recipe.kind}


def source_of(dataset, store, segment):
    from streamdocs.generations.encoding import decode_tokens
    from streamdocs.recipes.keys import Key

    if segment.kind == "web":
        return dataset.corpus.tokens(segment.document)
    if segment.kind == "mark":
        return None
    round, number = segment.generation
    key: Key = dataset.run.stream().scope.keyring.key(dataset.corpus.document_digest(segment.document), round)
    assert key.digest.hex() == segment.key
    with store.read() as snapshot:
        record = decode_tokens(key, bytes(snapshot.get("tokens", token_key(dataset.run.stream().scope, key.digest))))
    return record.generation(number)


def test_special_tokens_in_text_are_plain_text(tmp_path, store):
    evil = "Here <|end_of_text|> and <|begin_of_text|> and <think>x</think> are {document} just words. " * 3
    corpus = make_corpus(tmp_path, [f"{number} {evil}" for number in range(20)])
    run = make_run(corpus, STITCH)
    generate(run, store)
    dataset = make_dataset(corpus, store)
    tokenizer = dataset.corpus.tokenizer
    for position in range(96):
        tokens, segments = dataset[position]["input_ids"].numpy(), dataset.explain(position)
        for segment in segments:
            special = np.isin(tokens[segment.start : segment.stop], [tokenizer.bos, tokenizer.eos])
            assert segment.kind == "mark" or not special.any()
    text = dataset.corpus.text(0)
    assert evil.strip() in text
    (request,) = STITCH.requests(text, [], 0)
    assert text in request.prompt
    assert tokenizer.decode(dataset.corpus.tokens(0)) == text


def test_sequence_id_counts_documents_of_a_sequence(small_corpus, full_store):
    dataset = make_dataset(small_corpus, full_store, block_cross_document_attention=True)
    tokenizer = dataset.corpus.tokenizer
    for position in range(64):
        sample = dataset[position]
        starts = (sample["input_ids"] == tokenizer.bos).int()
        starts[0] = 0
        assert sample["sequence_id"].dtype == torch.int64
        assert sample["sequence_id"].tolist() == starts.cumsum(0).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_state_at_every_step_of_a_plain_loop(small_corpus, full_store, workers):
    def loader():
        dataset = make_dataset(small_corpus, full_store, epoch_size=40)
        return StreamingDataLoader(dataset, batch_size=4, num_workers=workers)

    first, states, batches = loader(), [], []
    for _ in range(2):
        states.append(first.state_dict() if states else None)
        for batch in first:
            batches.append(batch)
            states.append(first.state_dict())
    states = [state for state in states if state]
    expected = tokens_of(batches)
    step = 1 if workers == 0 else 7
    for done in range(1, len(states), step):
        state = json.loads(json.dumps(states[done]))
        assert len(json.dumps(state)) <= 4096
        resumed = loader()
        resumed.load_state_dict(state)
        tail = []
        while len(tail) < len(expected) - state["position"] // 4:
            tail += tokens_of(resumed)
        begin = state["position"] // 4
        assert tail[: len(expected) - begin] == expected[begin:]


def test_composers_checkpoints_at_the_end_of_an_epoch(small_corpus):
    dataset = make_dataset(small_corpus, epoch_size=16)
    batches_of(dataset)
    # Composer's clock has moved on: no samples of the new epoch, counted from its beginning.
    after = dataset.state_dict(0, True)
    assert (after["epoch"], after["sample_in_epoch"], after["position"]) == (1, 0, 16)
    assert dataset.state_dict(16, False) == after
    # It has not yet: all samples of the old one, which Composer will end before anything else.
    before = dataset.state_dict(16, True)
    assert (before["epoch"], before["sample_in_epoch"], before["position"]) == (0, 16, 16)
    expected = tokens_of(batches_of(dataset))
    for state, epochs in ((after, [expected]), (before, [[], expected])):
        for workers in (0, 2):
            resumed = make_dataset(small_corpus, epoch_size=16)
            resumed.load_state_dict(state)
            assert [tokens_of(batches_of(resumed, workers)) for _ in epochs] == epochs


def test_an_epoch_that_was_broken_off_is_over_for_every_worker(small_corpus):
    expected = make_dataset(small_corpus, epoch_size=48)
    read_some(StreamingDataLoader(expected, batch_size=4), 2)
    second = tokens_of(batches_of(expected))
    for options in ({}, {"persistent_workers": True}, {"prefetch_factor": 1}):
        dataset = make_dataset(small_corpus, epoch_size=48)
        loader = StreamingDataLoader(dataset, batch_size=4, num_workers=2, **options)
        read_some(loader, 8)
        assert tokens_of(loader) == second
    dataset = make_dataset(small_corpus, epoch_size=48)
    read_some(StreamingDataLoader(dataset, batch_size=4), 2)  # before some of the workers have begun an epoch
    assert tokens_of(batches_of(dataset, workers=3)) == second


def read_some(loader, batches: int) -> None:
    for number, _ in enumerate(loader, 1):
        if number == batches:
            return


def test_a_state_goes_into_a_loader_that_was_used(small_corpus):
    loader = StreamingDataLoader(make_dataset(small_corpus, epoch_size=48), batch_size=4)
    batches, states = [], []
    for batch in loader:
        batches.append(batch)
        states.append(loader.state_dict())
    loader.load_state_dict(states[4])
    assert loader.state_dict() == states[4]
    assert tokens_of(loader) == tokens_of(batches[5:])


@pytest.mark.parametrize("options", [{"batch_size": 5}, {"batch_size": 16}, {"epoch_size": 24}, {"epoch_size": 64}])
def test_epochs_of_another_size_read_on_and_nothing_twice(small_corpus, options):
    dataset = make_dataset(small_corpus, epoch_size=48)
    iterator = iter(StreamingDataLoader(dataset, batch_size=4))
    for _ in range(7):
        next(iterator)
    resumed = make_dataset(small_corpus, **{"epoch_size": 48, **options})
    resumed.load_state_dict(dataset.state_dict(28, True))
    rows, states = [], []
    for _ in range(3):
        for batch in StreamingDataLoader(resumed, batch_size=resumed.batch_size):
            assert len(batch["input_ids"]) == resumed.batch_size
            rows.append(batch["input_ids"])
        states.append(resumed.state_dict(0, True)["position"])
    read = torch.cat(rows)
    assert torch.equal(read, dataset_rows(dataset, range(28, 28 + len(read))))
    assert states[-1] == 28 + len(read)


def test_another_batch_size_goes_on_at_the_same_sequence(small_corpus, full_store):
    dataset = make_dataset(small_corpus, full_store)
    iterator = iter(StreamingDataLoader(dataset, batch_size=4))
    next(iterator)
    resumed = make_dataset(small_corpus, full_store, batch_size=2)
    resumed.load_state_dict(dataset.state_dict(4, True))
    one = torch.cat([batch["input_ids"] for batch in batches_of(resumed)])
    assert torch.equal(one[:4], dataset_rows(dataset, range(4, 8)))


def dataset_rows(dataset, positions) -> torch.Tensor:
    return torch.stack([dataset[p]["input_ids"] for p in positions])


def test_a_state_of_another_store_is_refused(small_corpus, full_store, tmp_path):
    dataset = make_dataset(small_corpus, full_store)
    dataset_rows(dataset, range(64))
    state = dataset.state_dict(64, True)
    other = LmdbStore(tmp_path / "other")
    generate(make_run(small_corpus, STITCH), other)
    with pytest.raises(StoreError, match="window 1 was never sealed"):
        make_dataset(small_corpus, other).load_state_dict(state)
    make_dataset(small_corpus, full_store).load_state_dict(state)


def test_sealed_windows_replay_whatever_was_generated_since(small_corpus, store):
    recipe = Stitch(generations=4, per_round=1)
    run = make_run(small_corpus, recipe)
    generate(run, store, blocks=6)
    dataset = make_dataset(small_corpus, store, recipe=recipe)
    before = dataset_rows(dataset, range(128))
    generate(run, store)
    after = make_dataset(small_corpus, store, recipe=recipe)
    assert torch.equal(dataset_rows(after, range(128)), before)
    used = [dataset.ledger.manifest(window).units.counts.mean() for window in range(3)]
    assert after.ledger.manifest(6).units.counts.mean() == 4 > max(used)


def test_windows_in_use_are_those_of_the_last_states_and_the_one_before(small_corpus, full_store):
    def in_use(dataset) -> list[int]:
        return [int.from_bytes(key[-8:], "big") for key, _ in windows_in_use(full_store, dataset.run.stream().scope)]

    dataset = make_dataset(small_corpus, full_store, keep_checkpoints=1)
    dataset_rows(dataset, range(64))
    assert in_use(dataset) == [0, 1]
    dataset.state_dict(64, True)
    assert in_use(dataset) == [1]  # window 2 is not sealed yet, and goes on with what window 1 leaves
    dataset = make_dataset(small_corpus, full_store)
    dataset_rows(dataset, range(256))
    for position in (192, 224, 96, 128):  # it went back from 224 to 64
        dataset.state_dict(position, True)
    assert in_use(dataset) == [2, 3, 4, 5, 6, 7]


def test_windows_are_sealed_once_by_whoever_is_first(small_corpus, full_store):
    with forked() as pool:
        found = pool.map(seal_in_a_process, [str(small_corpus)] * 4, [full_store.location] * 4)
    assert len(set(found)) == 1


def seal_in_a_process(corpus: str, store: str) -> bytes:
    return make_dataset(corpus, store).ledger.manifest(5).pack()


def test_a_lost_generation_is_an_error_that_says_which(small_corpus, full_store):
    dataset = make_dataset(small_corpus, full_store)
    dataset_rows(dataset, range(32))
    with full_store.read() as snapshot:
        keys = [key for key, _ in snapshot.scan("tokens", b"")]
    full_store.delete("tokens", keys)
    again = make_dataset(small_corpus, full_store)
    message = r"window 0 .* of \d+ documents \(\d+, .*Restore the store .*another name.*--from 0"
    with pytest.raises(MissingGenerationError, match=message):
        dataset_rows(again, range(32))


def test_waiting_ends_with_the_deadline(small_corpus, store):
    dataset = make_dataset(small_corpus, store, wait_timeout=0.3, when_behind="wait")
    with pytest.raises(WaitTimeoutError, match=r"window 0 waits for generations.*none came"):
        dataset[0]
    assert make_dataset(small_corpus, store, wait_timeout=0.3, when_behind="web")[0] is not None


def test_what_is_ready_does_not_wait_for_the_next_window(small_corpus, store):
    run = make_run(small_corpus, STITCH, window=70)
    generate(run, store, blocks=1)
    options = {"wait_timeout": 0.3, "when_behind": "wait", "window": 70}
    assert make_dataset(small_corpus, store, **options)[69] is not None
    with pytest.raises(WaitTimeoutError, match="window 1"):
        make_dataset(small_corpus, store, **options)[70]
    iterator = iter(StreamingDataLoader(make_dataset(small_corpus, store, **options), batch_size=4))
    for _ in range(70 // 4):
        next(iterator)
    with pytest.raises(WaitTimeoutError, match="window 1"):
        next(iterator)


def test_waiting_notices_that_no_generator_runs(small_corpus, store, monkeypatch):
    monkeypatch.setattr("streamdocs.ledger.waiting.HEARTBEAT_TIMEOUT", 0.2)
    dataset = make_dataset(small_corpus, store, wait_timeout=60)
    with pytest.raises(WaitTimeoutError, match=r"no generator of .* is running: start `streamdocs-server`"):
        dataset[0]


def test_who_beats_is_alive_whatever_the_clocks_say(small_corpus, store, monkeypatch):
    scope = make_run(small_corpus, STITCH).stream().scope
    store.update_all(beat(scope, "server:1"))
    listener = Listener(store, scope)
    assert listener.silent_seconds() < 1  # it may be alive: that is found out from now on
    for clock in (0.0, 1e12, 5.0):  # set back and forth
        monkeypatch.setattr("streamdocs.generations.heartbeat.time.time", lambda clock=clock: clock)
        time.sleep(0.1)
        silent = listener.silent_seconds()
        assert silent >= 0.1
        store.update_all(beat(scope, "server:1"))
        assert listener.silent_seconds() < silent
    store.update_all(beat(scope, "server:2"))
    listener.silent_seconds()
    time.sleep(0.1)
    store.update_all(stop_beating(scope, "server:2"))
    assert listener.silent_seconds() >= 0.1


def test_the_generator_is_found_in_the_store(small_corpus, store):
    with pytest.raises(WaitTimeoutError, match="no generator registered"):
        make_dataset(small_corpus, store, generator=None, wait_timeout=0.2)
    register_generator(store, TEMPLATE)
    assert make_dataset(small_corpus, store, generator=None).run.stream().scope.generator == TEMPLATE
    register_generator(store, Generator(model="other"))
    with pytest.raises(ConfigError, match=r"several generators.*other"):
        make_dataset(small_corpus, store, generator=None)


def test_a_generator_that_samples_otherwise_is_not_taken_for_the_one_of_the_run_file(small_corpus, full_store):
    register_generator(full_store, TEMPLATE)
    sampling = {"temperature": 1.0, "top_p": 1.0, "system": None, "extra_body": None}
    assert make_dataset(small_corpus, full_store, generator=sampling).run.stream().scope.generator == TEMPLATE
    for other in ({"temperature": 0.5}, {"top_p": 0.9}, {"system": "Be brief."}, {"extra_body": {"top_k": 20}}):
        wanted = {**sampling, **other}
        with pytest.raises(
            WaitTimeoutError, match=r"no generator with \{.*registered.*there are those of \{'model': 'template'"
        ):
            make_dataset(small_corpus, full_store, generator=wanted, wait_timeout=0.2)
        register_generator(full_store, Generator(model="other", **other))
        assert make_dataset(small_corpus, full_store, generator=wanted).run.stream().scope.generator.model == "other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": None}, "batch_size=.* is needed"),
        ({"when_behind": "hope"}, "'wait', 'reuse' or 'web'"),
        ({"synthetic_fraction": 0.5, "store": None}, "needs a store and a recipe"),
        ({"synthetic_fraction": 1.5}, "mix.synthetic_fraction: 1.5: from 0 to 1"),
        ({"shuffle_algo": "py9"}, "mix.shuffle_algo: has to be 'py1e'"),
        ({"num_canonical_nodes": 101}, "num_canonical_nodes=101: from 1 to the 100 documents"),
        ({"epoch_size": "0"}, "arguments: mix.epoch_size: has to be at least 1"),
        ({"keep_checkpoints": 0}, "arguments: server.keep_checkpoints: has to be at least 1"),
    ],
)
def test_arguments_that_cannot_mean_what_was_asked(small_corpus, store, options, message):
    with pytest.raises(ConfigError, match=message):
        make_dataset(small_corpus, **{"store": store, **options})


def test_how_often_generations_were_read_is_estimated_from_some_of_them(small_corpus, full_store, monkeypatch):
    dataset = make_dataset(small_corpus, full_store)
    dataset[dataset.epoch_size - 1]
    exact = dataset.mixed_until(dataset.epoch_size)["reuse"]
    monkeypatch.setattr("streamdocs.ledger.meter._MOST_BLOCKS", 3)
    some = make_dataset(small_corpus, full_store).mixed_until(dataset.epoch_size)["reuse"]
    assert 0 < some != exact and some == pytest.approx(exact, rel=0.2)


def test_positions_are_counted_from_0_on(small_corpus, full_store):
    for dataset in (make_dataset(small_corpus), make_dataset(small_corpus, full_store)):
        for read in (dataset.__getitem__, dataset.explain):
            with pytest.raises(IndexError, match="from 0 on"):
                read(-1)


def test_a_store_may_be_a_path(small_corpus, full_store):
    dataset = make_dataset(small_corpus, Path(full_store.location))
    assert dataset[3]["input_ids"].tolist() == make_dataset(small_corpus, full_store)[3]["input_ids"].tolist()


def test_evaluation_reads_the_same_every_epoch(tmp_path):
    corpus = make_corpus(tmp_path, make_texts(200), holdout=0.2)
    dataset = make_dataset(corpus, split="holdout", evaluation=True)
    assert tokens_of(batches_of(dataset)) == tokens_of(batches_of(dataset))
    train = {bytes(digest) for digest in make_dataset(corpus).corpus.documents["digest"]}
    assert not train & {bytes(digest) for digest in dataset.corpus.documents["digest"]}


def test_a_remote_corpus_is_downloaded_as_it_is_read(large_corpus, tmp_path):
    here, cached = tmp_path / "cache", tmp_path / "small-cache"
    expected = make_dataset(large_corpus)
    assert tokens_of(batches_of(make_dataset(here, remote=str(large_corpus)))) == tokens_of(batches_of(expected))
    limit = 5 * max(path.stat().st_size for path in (large_corpus / "train").glob("*.mds"))
    small = make_dataset(cached, remote=str(large_corpus), cache_limit=limit)
    assert tokens_of(batches_of(small)) == tokens_of(batches_of(make_dataset(large_corpus)))
    assert sum(path.stat().st_size for path in (cached / "train").glob("*.mds")) <= limit
    with pytest.raises(CorpusError, match="not a corpus"):
        make_dataset(tmp_path / "nothing")
    with pytest.raises(CorpusError, match="cannot be downloaded"):
        make_dataset(tmp_path / "nothing", remote=str(tmp_path / "nowhere"), download_retry=0)


def test_no_named_shared_memory(small_corpus, full_store, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("named shared memory outlives a process that is killed")

    monkeypatch.setattr("multiprocessing.shared_memory.SharedMemory.__init__", refuse)
    assert batches_of(make_dataset(small_corpus, full_store), workers=2)


def test_replication_gives_neighbouring_ranks_the_same(small_corpus, monkeypatch):
    def rank(number: int, **options) -> list[bytes]:
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", "4")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        return tokens_of(batches_of(make_dataset(small_corpus, batch_size=2, **options)))

    assert rank(0, replication=2) == rank(1, replication=2) != rank(2, replication=2)
    assert len({len(rank(number)) for number in range(4)}) == 1
    together = [b"".join(rows) for rows in zip(*(rank(number) for number in range(4)), strict=True)]
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert tokens_of(batches_of(make_dataset(small_corpus, batch_size=8))) == together
    with pytest.raises(ConfigError, match=r"replication=3 does not divide the 4 ranks"):
        rank(0, replication=3)


def test_it_says_what_it_will_read(small_corpus, full_store):
    text = make_dataset(small_corpus, full_store).describe()
    assert "1.00 passes over 100 documents" in text and "stitch of 200 generations (200 exist)" in text
    dataset = make_dataset(small_corpus, full_store, epoch_size=100_000)
    held = total(read_tallies(full_store, dataset.run.stream().scope).values()).tokens
    synthetic = 75_000 * dataset.run.mixture.max_seq_len
    assert f"read {synthetic / (held + dataset.run.web[0].tokens):.2f} times" in dataset.describe()
    alone = make_dataset(small_corpus, full_store, epoch_size=100_000, recipe=replace(STITCH, web="none"))
    assert f"read {synthetic / held:.2f} times" in alone.describe()
    assert "synthetic" not in make_dataset(small_corpus).describe()


def test_gates_are_open_in_these_tests():
    assert OPEN_GATES.check("x", "stop", STITCH.requests("a document", [], 0)[0]).text == "x"
