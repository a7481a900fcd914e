"""One server for all streams of a run: what training comes to first, nobody starved, budgets, and what retires."""

import asyncio
import json
import time

import pytest

from conftest import TEMPLATE, generate, make_loop, make_run, make_texts
from streamdocs import Rephrase, Stitch, StreamingMegadocDataset, Stretch
from streamdocs.corpus import prepare_corpus
from streamdocs.generations.progress import read_tallies, total
from streamdocs.generations.records import token_keys
from streamdocs.schedule.rounds import BLOCK
from streamdocs.sections import BudgetSection
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.telling.monitor import Monitor
from streamdocs_server.work import retire
from streamdocs_server.work.statistics import Budget

STREAMS = {
    "web": {"share": "1/4"},
    "megadocs": {"share": "1/2", "recipe": Stitch(generations=8, per_round=1)},
    "thoughts": {"share": "1/8", "recipe": Stretch(generations=2)},
    "rephrases": {"share": "1/8", "recipe": Rephrase(generations=4, per_round=2)},
}


def run_for(loop, seconds: float) -> None:
    async def work() -> None:
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(seconds)
        loop.drain(0)
        await running

    asyncio.run(work())


def dataset_of(corpus, store, streams, **options) -> StreamingMegadocDataset:
    named = {"local": corpus, "store": store, "streams": streams, "generator": TEMPLATE, "shuffle_seed": 17}
    return StreamingMegadocDataset(**named, max_seq_len=64, window=32, batch_size=4, wait_timeout=5, **options)


def test_no_stream_starves_and_the_nearest_comes_first(small_corpus, store):
    """Whatever rounds a stream has: when a slow server has written a little, each can begin, in step with its share."""
    run = make_run(small_corpus, STREAMS)
    loop = make_loop(run, store, engine=TemplateEngine(tokens_per_second=20_000), max_in_flight=16)
    run_for(loop, 3)
    for lane in loop.lanes:
        lane.look()
    done = {lane.name: lane.watermark for lane in loop.lanes}
    assert min(done.values()) >= 16 and not loop.finished, done
    coming = [lane.urgency(number) for lane in loop.lanes if (number := lane.next_block()) is not None]
    # None is further ahead of its reader than another by more than what was in flight: some blocks.
    blocks = max(16 * lane._unit_tokens / float(lane._share * 64) for lane in loop.lanes)
    assert max(coming) - min(coming) < 3 * blocks, (coming, done)
    dataset = dataset_of(small_corpus, store, STREAMS)
    assert {dataset.streams[int(dataset[p]["stream"])] for p in range(32) if dataset[p]["synthetic"]} == set(done)


def test_a_stream_that_is_behind_does_not_hold_up_the_others(small_corpus, store, caplog):
    run = make_run(small_corpus, STREAMS)
    loop = make_loop(run, store, max_lead=10**6)
    lanes, loop.lanes = loop.lanes, [lane for lane in loop.lanes if lane.name != "thoughts"]
    asyncio.run(asyncio.wait_for(loop.run(), 60))
    dataset = dataset_of(small_corpus, store, STREAMS)
    samples = [dataset[position] for position in range(64)]
    number = dataset.streams.index("thoughts")
    assert all(bool(s["synthetic"]) == (int(s["stream"]) not in (0, number)) for s in samples)
    assert dataset.ledgers["thoughts"].manifest(0).after.filler_rows == len(run.stream("thoughts").rows(0))
    assert "stream thoughts is filled with web text" in caplog.text
    loop.lanes = lanes  # once there is something, it is read
    asyncio.run(asyncio.wait_for(loop.run(), 60))
    later = [dataset[position] for position in range(64, 128)]
    assert all(bool(sample["synthetic"]) == (int(sample["stream"]) != 0) for sample in later)


def test_where_no_stream_can_begin_all_of_them_wait(small_corpus, store):
    dataset = dataset_of(small_corpus, store, STREAMS)
    began = time.monotonic()
    with pytest.raises(Exception, match="waits for generations"):
        dataset[0]
    assert time.monotonic() - began >= 5 and not any(ledger.count() for ledger in dataset.ledgers.values())


@pytest.mark.parametrize("limits", [{"tokens": 20_000}, {"documents": 200}, {"hours": 1 / 3600}])
def test_a_budget_ends_generation_and_training_goes_on(small_corpus, store, limits, caplog):
    run, budget = make_run(small_corpus, STREAMS), BudgetSection(**limits)
    engine = TemplateEngine(tokens_per_second=60_000)
    loop = make_loop(run, store, engine=engine, max_in_flight=16, budget=Budget(budget))
    asyncio.run(asyncio.wait_for(loop.run(), 60))
    assert not loop.finished and f"{next(iter(limits))} is spent (server.budget)" in loop.state
    assert "Training goes on" in caplog.text
    held = total(each for stream in run.synthetic for each in read_tallies(store, stream.scope).values())
    if "hours" not in limits:
        used = {"tokens": held.tokens, "documents": held.items}[next(iter(limits))]
        most = limits[next(iter(limits))]
        assert most <= used < most + (2 * BLOCK if "documents" in limits else most // 2)  # what was begun was stored
        again = make_loop(run, store, engine=engine, budget=Budget(budget, held.tokens, held.items))
        asyncio.run(asyncio.wait_for(again.run(), 60))
        assert again.statistics.asked == 0 and not any(lane.leases.held for lane in again.lanes)
    dataset = dataset_of(small_corpus, store, STREAMS)
    assert len([dataset[position] for position in range(256)]) == 256


def test_streams_that_want_the_same_texts_ask_for_them_once(small_corpus, store):
    recipe = Stitch(generations=2, per_round=1)
    same = {name: {"share": "1/4", "recipe": recipe} for name in "ab"}
    run = make_run(small_corpus, {"web": {"share": "1/2"}, **same})
    engine = Counts()
    asyncio.run(asyncio.wait_for(make_loop(run, store, engine=engine, max_in_flight=64, max_lead=10**6).run(), 60))
    assert len(engine.asked) == len(set(engine.asked)) == 2 * len(run.corpus.documents)


class Counts(TemplateEngine):
    """Remembers which seeds it was asked for, a moment before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    async def generate(self, request, seed):
        self.asked.append((request.fields["document"], seed))
        await asyncio.sleep(0.001)
        return await super().generate(request, seed)


def test_a_server_tells_of_each_stream(small_corpus, store):
    loop = make_loop(make_run(small_corpus, STREAMS), store, max_lead=10**6)
    asyncio.run(asyncio.wait_for(loop.run(), 60))
    monitor = Monitor(loop, 0)
    told = json.loads(json.dumps(monitor.status()))
    assert told["watermark"] == sum(each["watermark"] for each in told["streams"].values()) == 800 + 100 + 200
    assert told["streams"]["rephrases"] == {"watermark": 200, "rounds_done": 2, "lead": None}
    names = {
        sample.labels["stream"]
        for metric in monitor.collect()
        for sample in metric.samples
        if "stream" in sample.labels
    }
    assert names == {"megadocs", "thoughts", "rephrases"}


def test_what_retires_are_the_documents_of_the_stream(tmp_path, store):
    """And not as many of the corpus' first ones."""
    rows = (json.dumps({"text": text, "kind": "ab"[n >= 60]}) + "\n" for n, text in enumerate(make_texts(100)))
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    options = {"train_tokenizer": 400, "keep": ["kind"], "progress": False}
    prepare_corpus([str(tmp_path / "rows.jsonl")], tmp_path / "kinds", **options)
    one = {"share": "1", "recipe": Stitch(generations=1, rounds=3), "where": {"kind": "b"}}
    run = make_run(tmp_path / "kinds", {"one": one})
    generate(run, store)
    scope = run.stream().scope
    digests = scope.sources.digests(scope.sources.numbers)
    keys = {round: token_keys(scope, scope.keyring.digests(digests, [round] * 40)) for round in range(2)}
    assert len(digests) == 40 and retire.Retirer(store, scope)._delete(0)
    with store.read() as snapshot:
        assert not any(snapshot.get("tokens", key) for key in keys[0])
        assert all(snapshot.get("tokens", key) for key in keys[1])


def test_rounds_of_streams_retire_beside_each_other(small_corpus, store, monkeypatch):
    monkeypatch.setattr(retire, "_GRACE_SECONDS", 0.0)
    endless = Stitch(generations=1, rounds=None), Stretch(generations=1, rounds=None)
    streams = {"one": {"share": "1/2", "recipe": endless[0]}, "two": {"share": "1/2", "recipe": endless[1]}}
    dataset = dataset_of(small_corpus, store, streams, keep_checkpoints=1)
    run = dataset.run
    loop = make_loop(run, store, max_lead=400)

    async def train() -> None:
        running, position = asyncio.create_task(loop.run()), 0
        deadline = time.monotonic() + 60
        while not all(lane.retirer.retired_rounds for lane in loop.lanes):
            assert time.monotonic() < deadline
            await asyncio.to_thread(dataset.__getitem__, position)
            position += 16
            dataset.state_dict(position, True)
            await asyncio.to_thread(lambda: [lane.retirer.retire() for lane in loop.lanes])
        running.cancel()

    asyncio.run(train())
    shared = {name: {"share": "1/2", "recipe": endless[0]} for name in ("one", "two")}
    (first, second) = (stream.scope for stream in make_run(small_corpus, shared).synthetic)
    assert first.id != second.id and first.shares_with(second)
    assert not run.synthetic[0].scope.shares_with(run.synthetic[1].scope)
