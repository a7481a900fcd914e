"""The generation loop against a real store, with several servers and with killed ones."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from conftest import OPEN_GATES, generate, make_loop, make_run
from streamdocs import Rephrase, Stitch, StreamingMegadocDataset, Stretch
from streamdocs._base.hashing import digest128
from streamdocs.config import RunFile
from streamdocs.errors import EngineError, EngineUnavailableError
from streamdocs.generations.encoding import TextRecord, decode_text, decode_tokens, encode_text
from streamdocs.generations.heartbeat import register_scope, registered_generators
from streamdocs.generations.progress import read_tallies, read_watermark, total
from streamdocs.generations.records import token_key
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import LmdbStore
from streamdocs_server.cli import serve_run
from streamdocs_server.engines import Answer, Completion, RequestRefusedError
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Gates
from streamdocs_server.work.lanes.leases import Leases
from streamdocs_server.work.retire import Retirer


class CountingEngine(TemplateEngine):
    """The template engine, with a record of what it was asked."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.asked, self.most_in_flight, self._now, self._delay = Counter(), 0, 0, delay

    async def generate(self, request, seed):
        self.asked[request.prompt] += request.n
        self._now += 1
        self.most_in_flight = max(self.most_in_flight, self._now)
        await asyncio.sleep(self._delay)
        self._now -= 1
        return await super().generate(request, seed)


def serve(*loops, timeout=60) -> None:
    async def work():
        await asyncio.wait_for(asyncio.gather(*(loop.run() for loop in loops)), timeout)

    asyncio.run(work())


def serve_until_it_waits(loop, timeout=60) -> None:
    """Serve until there has been nothing to do but wait for the trainer for half a second, or all is done."""

    async def work():
        running, idle, deadline = asyncio.create_task(loop.run()), 0, time.monotonic() + timeout
        while idle < 10 and not running.done():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            idle = idle + 1 if loop.waits_for_trainer and not loop.lanes[0].leases.held else 0
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(work())


def make_dataset(run, store, **options) -> StreamingMegadocDataset:
    """The trainer's side of a run."""
    mixture = {"synthetic_fraction": 0.75, "max_seq_len": 64, "window": 32, "shuffle_seed": 17}
    who = {"local": run.corpus.local, "recipe": run.stream().recipe, "generator": run.stream().scope.generator}
    return StreamingMegadocDataset(store=store, **who, **mixture, **options)


def watermark_of(run, store) -> int:
    with store.read() as snapshot:
        return read_watermark(snapshot, run.stream().scope)


@pytest.mark.parametrize(
    "recipe", [Stitch(generations=4, per_round=2), Stretch(generations=2), Rephrase(generations=2, per_round=1)]
)
def test_everything_is_generated_once_and_then_nothing(small_corpus, store, recipe):
    run, engine = make_run(small_corpus, recipe), CountingEngine()
    loop = make_loop(run, store, engine=engine, max_lead=1000)
    serve(loop)
    assert loop.finished and watermark_of(run, store) == recipe.cycle * 100
    assert sum(engine.asked.values()) == 100 * recipe.generations
    held = total(read_tallies(store, run.stream().scope).values())
    assert (held.items, held.generations) == (recipe.cycle * 100, 100 * recipe.generations)
    assert held.tokens == loop.statistics.written.tokens > 0
    again = CountingEngine()
    serve(make_loop(run, store, engine=again))
    assert not again.asked
    assert [generator.model for generator in registered_generators(store)] == ["template"]
    with store.read() as snapshot:
        assert list(snapshot.scan("notes", b"beat/")) == []  # it stopped and said so


def test_two_servers_generate_everything_once(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=2, per_round=1))
    engines = [CountingEngine(0.002), CountingEngine(0.002)]
    serve(*(make_loop(run, store, engine=e, name=f"elsewhere:{i}", max_in_flight=16) for i, e in enumerate(engines)))
    asked = engines[0].asked + engines[1].asked
    assert sum(asked.values()) == 200 and max(asked.values()) == 2
    assert all(engine.asked for engine in engines)


def test_blocks_come_in_the_order_in_which_they_are_wanted(small_corpus, store):
    recipe = Stitch(generations=2, per_round=1)
    run, engine = make_run(small_corpus, recipe), CountingEngine()
    serve(make_loop(run, store, engine=engine, max_in_flight=1))
    prompts = list(engine.asked)
    expected = run.stream().order.order(0)
    documents = [next(d for d in range(100) if run.corpus.text(d) in prompt) for prompt in prompts[: 2 * BLOCK]]
    assert sorted(documents) == sorted(expected[: 2 * BLOCK].tolist())


def test_in_flight_is_bounded(small_corpus, store):
    engine = CountingEngine(0.005)
    serve(make_loop(make_run(small_corpus, Stitch(generations=1)), store, engine=engine, max_in_flight=7))
    assert engine.most_in_flight == 7


def test_the_lead_over_the_trainer_is_bounded(small_corpus, store):
    recipe = Stitch(generations=2, per_round=1, rounds=None)
    run = make_run(small_corpus, recipe)

    def run_until_it_waits():
        loop = make_loop(run, store, max_lead=50)
        serve_until_it_waits(loop)
        assert loop.waits_for_trainer
        return watermark_of(run, store)

    ahead = run_until_it_waits()
    # One cycle of rounds is wanted at once; then the lead, rounded up to whole blocks.
    assert 100 + 50 <= ahead < 100 + 50 + BLOCK
    dataset = make_dataset(run, store, batch_size=1)
    dataset[40]
    cursor = dataset.ledger.manifest(1).after.cursor
    assert run_until_it_waits() >= 100 + 50 + cursor


@pytest.mark.parametrize("when_behind", ["wait", "reuse"])
@pytest.mark.parametrize(
    "recipe",
    [Rephrase(generations=4, web=False), Rephrase(generations=4, per_round=1), Stitch(generations=4, per_round=1)],
    ids=["rephrase", "rephrase in rounds", "stitch in rounds"],
)
def test_whatever_the_lead_training_goes_on(small_corpus, store, recipe, when_behind):
    run = make_run(small_corpus, recipe)
    dataset = make_dataset(run, store, batch_size=1, when_behind=when_behind, wait_timeout=1)

    class Refusing(TemplateEngine):
        """Six documents of ten."""

        async def generate(self, request, seed):
            if digest128(request.prompt.encode())[0] % 10 < 6:
                raise RequestRefusedError("not that one")
            return await super().generate(request, seed)

    for window in range(8):
        serve_until_it_waits(make_loop(run, store, engine=Refusing(), max_lead=1, when_behind=when_behind))
        dataset[window * 32]  # waits for a second at the most, while nobody writes


def test_rounds_retire_when_nobody_will_read_them(small_corpus, store, monkeypatch, caplog):
    monkeypatch.setattr("streamdocs_server.work.retire._GRACE_SECONDS", 0.0)
    monkeypatch.setattr("streamdocs_server.work.loop._BEAT_SECONDS", 0.1)
    recipe = Stitch(generations=2, per_round=1, rounds=6)
    run = make_run(small_corpus, recipe)
    dataset = make_dataset(run, store, batch_size=4, keep_checkpoints=1)
    generate(run, store, blocks=run.stream().scope.generation_order.blocks_per_round)
    first = dataset[0]["input_ids"]

    def rounds_held() -> set[int]:
        held = set()
        with store.read() as snapshot:
            for round in range(6):
                keys = [run.stream().scope.keyring.key(run.corpus.document_digest(d), round) for d in range(100)]
                held |= {round} if any(snapshot.get("texts", key.digest) for key in keys) else set()
        return held

    serve_until_it_waits(make_loop(run, store, max_lead=10**6))
    # Without a checkpoint the run may be started over, so round 0 stays and holds everything up.
    assert rounds_held() == {0, 1, 2}
    assert (dataset[0]["input_ids"] == first).all()

    position = 0
    for _ in range(12):
        position += 32 * 4
        dataset[position]
        dataset.state_dict(position, True)
        serve_until_it_waits(make_loop(run, store, max_lead=10**6))
        assert len(rounds_held()) <= recipe.cycle + 1  # never more than one round above those in use
        other = make_run(small_corpus, recipe, seed=18)
        if position == 32 * 4:
            register_scope(store, other.stream().scope)
            retirer = Retirer(store, run.stream().scope)
            assert retirer.retire() == retirer.retire() == 0  # somebody else may need them
            assert caplog.text.count("nothing retires, and no more than 3 rounds are written") == 1
            store.update(b"scope/" + other.stream().scope.id, lambda _: None)
    assert rounds_held() <= {3, 4, 5}
    dataset[position]


def test_rejected_generations_are_asked_for_again_and_then_recorded(small_corpus, store):
    class Stubborn(CountingEngine):
        async def generate(self, request, seed):
            answer = await super().generate(request, seed)
            bad = Completion("I'm sorry, but I can't assist with that.", "stop", 9)
            return Answer((bad, *answer.completions[1:]), answer.prompt_tokens)

    run, engine = make_run(small_corpus, Stitch(generations=3)), Stubborn()
    loop = make_loop(run, store, engine=engine)
    (lane,) = loop.lanes
    lane.resolver = replace(lane.resolver, gates=replace(OPEN_GATES, chat=True), attempts=3)
    serve(loop)
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.generations == 200 and held.rejected == {"refusal": 100}
    assert set(engine.asked.values()) == {3 + 1 + 1}


def test_a_refused_document_is_recorded_and_others_go_on(small_corpus, store):
    class Refusing(CountingEngine):
        async def generate(self, request, seed):
            if "Document 7 " in request.prompt:
                raise RequestRefusedError("too long")
            return await super().generate(request, seed)

    run = make_run(small_corpus, Stitch(generations=2))
    serve(make_loop(run, store, engine=Refusing()))
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.rejected == {"refused by the server": 2} and held.generations == 198


def test_an_engine_that_is_gone_stops_the_loop_and_loses_nothing(small_corpus, store):
    class Failing(CountingEngine):
        async def generate(self, request, seed):
            if sum(self.asked.values()) >= 60:
                raise EngineUnavailableError("connection refused")
            return await super().generate(request, seed)

    run, failing = make_run(small_corpus, Stitch(generations=1)), Failing()
    with pytest.raises(EngineUnavailableError):
        serve(make_loop(run, store, engine=failing, max_in_flight=4))
    rest = CountingEngine()
    serve(make_loop(run, store, engine=rest))
    assert sum(rest.asked.values()) <= 100 - 60 + 4  # at most what was in flight is asked for again
    assert watermark_of(run, store) == 100


def test_leases(small_corpus, store, monkeypatch):
    run = make_run(small_corpus, Stitch(generations=1))
    ours, theirs = Leases(store, run.stream().scope, "here:1"), Leases(store, run.stream().scope, "there:1")
    assert theirs.acquire([3]) and not ours.acquire([3]) and ours.acquire([4])
    store.update_all(theirs.leave())
    assert ours.acquire([3])
    with monkeypatch.context() as patch:
        patch.setattr("streamdocs_server.work.lanes.leases.LEASE_SECONDS", -1.0)
        assert theirs.acquire([3])  # it ran out
    store.update_all(ours.renewal())  # as a server that was stopped for longer than its leases
    store.update_all(ours.leave())
    assert not Leases(store, run.stream().scope, "elsewhere:1").acquire([3])


def test_leases_of_what_comes_next_where_writing_is_dear(small_corpus, store, monkeypatch):
    monkeypatch.setattr(LmdbStore, "pace", 10.0)
    run, written = make_run(small_corpus, Stitch(generations=1)), []
    update = store.update
    monkeypatch.setattr(store, "update", lambda *given: written.append(1) or update(*given))
    ours, theirs = Leases(store, run.stream().scope, "here:1"), Leases(store, run.stream().scope, "there:1")
    taken = [number for number in range(40) if ours.acquire(range(number, number + ours.many))]
    assert taken == [*range(40)] and len(written) == 6  # 1, 2, 4, 8, 16 and 32 at a time
    assert not any(theirs.acquire([number]) for number in range(63)) and theirs.acquire([63])
    store.update_all(ours.renewal())
    assert not theirs.acquire([50])
    store.update_all(ours.leave())
    assert theirs.acquire([50])


def test_leases_of_who_is_not_heard_of(small_corpus, store, monkeypatch):
    """A server whose store was gone is alive: it could not say so. One that is silent meanwhile is not."""
    run, clock = make_run(small_corpus, Stitch(generations=1)), [0.0]
    monkeypatch.setattr(LmdbStore, "clock", lambda _: clock[0])
    monkeypatch.setattr(LmdbStore, "silence", 600.0)
    ours, theirs = Leases(store, run.stream().scope, "here:1"), Leases(store, run.stream().scope, "there:1")
    now = time.time()
    assert theirs.acquire([3]) and not ours.acquire([3])
    monkeypatch.setattr(time, "time", lambda: now + 300)
    clock[0] = 5.0
    assert not ours.acquire([3])
    clock[0] = 61.0
    assert ours.acquire([3])


def records_of(run, store, document: int):
    key = run.stream().scope.keyring.key(run.corpus.document_digest(document), 0)
    with store.read() as snapshot:
        text = decode_text(key, snapshot.get("texts", key.digest))
        record = decode_tokens(key, snapshot.get("tokens", token_key(run.stream().scope, key.digest)))
        return key, text, [record.generation(number).tolist() for number in range(2)]


def test_tokens_are_those_of_the_text_of_whoever_was_faster(small_corpus, store):
    """Two runs of other orders may ask for the same generations at the same time."""
    run = make_run(small_corpus, Stitch(generations=2))
    order = run.stream().scope.generation_order
    first = order.sources_of(order.block(0)).tolist()
    keys = [run.stream().scope.keyring.key(run.corpus.document_digest(document), 0) for document in first]
    theirs = TextRecord(["Somebody else wrote this.", None], [None, "too short"])

    class Slower(TemplateEngine):
        async def generate(self, request, seed):
            store.add("texts", {key.digest: encode_text(key, theirs) for key in keys})
            return await super().generate(request, seed)

    generate(run, store, blocks=1, engine=Slower())
    for document in first:
        _, text, tokens = records_of(run, store, document)
        assert text == theirs
        assert run.corpus.tokenizer.decode(tokens[0]) == theirs.texts[0] and tokens[1] == []
    tally = total(read_tallies(store, run.stream().scope).values())
    assert (tally.generations, tally.rejected) == (len(first), {"too short": len(first)})


@pytest.mark.parametrize("tables", [["texts"], ["tokens"], ["texts", "tokens"]], ids=str)
def test_a_damaged_record_makes_room_for_another(small_corpus, store, tables):
    """What is whole of text and tokens makes the other; only where both are damaged another text is asked for."""
    run = make_run(small_corpus, Stitch(generations=2))
    generate(run, store)
    key, text, tokens = records_of(run, store, 7)
    for table in tables:
        where = key.digest if table == "texts" else token_key(run.stream().scope, key.digest)
        with store.read() as snapshot:
            record = bytearray(snapshot.get(table, where))
            blocks = [bytes(name) for name, _ in snapshot.scan("blocks", b"")]
        record[40] ^= 1
        store.delete(table, [where])
        store.add(table, {where: bytes(record)})
    store.delete("blocks", blocks)
    engine = CountingEngine()
    serve(make_loop(run, store, engine=engine))
    restored = records_of(run, store, 7)
    assert (restored[1].texts, restored[2]) == (text.texts, tokens)
    assert sum(engine.asked.values()) == (2 if len(tables) == 2 else 0)


def test_killed_and_restarted_it_asks_for_nothing_that_is_stored(small_corpus, tmp_path):
    run_file = tmp_path / "run.yaml"
    fields = {
        "corpus": str(small_corpus),
        "store": "store",
        "recipe": {"name": "stitch", "generations": 2, "per_round": 1},
        "mix": {"max_seq_len": 64, "window": 32, "shuffle_seed": 17},
        "server": {"max_in_flight": 8, "gates": {"max_repeated_ngrams": 1, "min_ratio": None}},
    }
    run_file.write_text(yaml.safe_dump(fields))
    command = [sys.executable, "-m", "streamdocs_server", str(run_file), "--tokens-per-second=6000"]
    store = LmdbStore(tmp_path / "store")
    run = make_run(small_corpus, Stitch(generations=2, per_round=1))
    seen = 0
    for attempt in range(3):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + 180
        while watermark_of(run, store) < seen + 30 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert watermark_of(run, store) >= seen + 30, attempt
        seen = watermark_of(run, store)
    # LMDB shows a commit whose writer was killed right after it to readers only once somebody writes again.
    store.update(b"recovered", lambda _: b"")
    keys = [
        k
        for d in range(100)
        for r in (0, 1)
        for k in [run.stream().scope.keyring.key(run.corpus.document_digest(d), r)]
    ]
    with store.read() as snapshot:
        stored = sum(snapshot.get("texts", key.digest) is not None for key in keys)
    engine = CountingEngine()
    serve(make_loop(run, store, engine=engine))
    assert sum(engine.asked.values()) == 200 - stored < 200


def test_sigterm_gives_everything_back(small_corpus, tmp_path):
    run_file = tmp_path / "run.yaml"
    fields = {"corpus": str(small_corpus), "store": "store", "recipe": {"name": "stitch", "generations": 1}}
    run_file.write_text(yaml.safe_dump(fields))
    command = [sys.executable, "-m", "streamdocs_server", str(run_file), "--tokens-per-second=100"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    store = LmdbStore(tmp_path / "store")

    def notes() -> set[bytes]:
        with store.read() as snapshot:
            return {key.split(b"/")[0] for key, _ in snapshot.scan("notes", b"")}

    deadline = time.monotonic() + 180
    while b"leases" not in notes() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert notes() == {b"generator", b"scope"}


def test_a_store_is_filled_by_the_model_that_began_it(small_corpus, tmp_path, monkeypatch):
    run_file = tmp_path / "run.yaml"
    generator = {"engine": "template", "revision": "v2"}
    fields = {"corpus": str(small_corpus), "store": "store", "recipe": {"name": "stitch", "generations": 1}}
    run_file.write_text(yaml.safe_dump({**fields, "generator": generator}))
    for _ in range(2):
        asyncio.run(serve_run(RunFile.load(run_file)))

    async def model(self):
        return "another", ""

    monkeypatch.setattr(TemplateEngine, "model", model)
    with pytest.raises(EngineError, match=r"serves another v2, .* has generations of template v2"):
        asyncio.run(serve_run(RunFile.load(run_file)))
    run_file.write_text(yaml.safe_dump({**fields, "generator": {**generator, "model": "another"}}))
    asyncio.run(serve_run(RunFile.load(run_file)))


def test_drained_it_stores_what_it_has_asked_for_and_begins_nothing_else(small_corpus, store):
    class Draining(CountingEngine):
        async def generate(self, request, seed):
            if len(self.asked) == 12:
                loop.drain(60)
            return await super().generate(request, seed)

    run, engine = make_run(small_corpus, Stitch(generations=1)), Draining(0.3)
    loop = make_loop(run, store, engine=engine, max_in_flight=8)
    serve(loop, timeout=10)
    assert not loop.finished and loop.statistics.asked == len(engine.asked) < 100
    rest = CountingEngine()
    serve(make_loop(run, store, engine=rest))
    assert len(rest.asked) == 100 - len(engine.asked) and not set(rest.asked) & set(engine.asked)


def test_what_takes_too_long_is_not_waited_for(small_corpus, store):
    class Hanging(CountingEngine):
        async def generate(self, request, seed):
            if len(self.asked) == 12:
                loop.drain(0.5)
            return await super().generate(request, seed)

    run, engine = make_run(small_corpus, Stitch(generations=1)), Hanging(0.1)
    loop = make_loop(run, store, engine=engine, max_in_flight=8)
    engine._delay = 3600
    engine.asked.update(map(str, range(5)))  # the last of the first eight begins the drain
    serve(loop, timeout=10)
    assert loop.statistics.asked == 0 and not loop.lanes[0].leases.held
    with store.read() as snapshot:
        assert not [key for key, _ in snapshot.scan("notes", b"") if key.startswith((b"lease", b"beat"))]


def test_a_server_that_stops_leaves_the_rest_of_a_round_to_the_next(small_corpus, store, monkeypatch):
    monkeypatch.setattr("streamdocs_server.work.retire._GRACE_SECONDS", 0.0)
    monkeypatch.setattr("streamdocs_server.work.retire._CHUNK", 16)
    run = make_run(small_corpus, Stitch(generations=2, per_round=1, rounds=4))
    generate(run, store)
    register_scope(store, run.stream().scope)
    stopping, delete, seen = Retirer(store, run.stream().scope), store.delete, []

    def delete_once(table, keys):
        seen.append(delete(table, keys))
        stopping.stop()
        return seen[-1]

    monkeypatch.setattr(store, "delete", delete_once)
    assert stopping.retire() == 0 and seen == [16, 16] and stopping.retired_rounds == 0
    monkeypatch.undo()
    monkeypatch.setattr("streamdocs_server.work.retire._GRACE_SECONDS", 0.0)
    assert Retirer(store, run.stream().scope).retire() == 2
    with store.read() as snapshot:
        assert len(list(snapshot.scan("texts", b""))) == 200


def test_default_gates_accept_what_the_template_engine_writes(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=2))
    serve(make_loop(run, store, gates=Gates()))
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.generations > 150
