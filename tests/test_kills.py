"""Trainer and generator killed again and again: what was read is what a run reads that nobody ever stopped."""

import json
import os
import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import make_corpus, make_texts
from exactness import GLOBAL_BATCH, Batch, Child, Setup, generate_for_ever, read_in_one_go, train_for_ever, wait_until
from streamdocs import Stitch, Stretch, SynthLLM
from streamdocs.ledger.ledger import Ledger

KILLS = 100 if "EXHAUSTIVE" in os.environ else 40


def consumed(folder: Path) -> list[tuple[int, Batch]]:
    path = folder / "consumed.jsonl"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def has_grown(setup: Setup) -> bool:
    """Whether the newest window of each stream was sealed over more than its first."""
    time.sleep(1)  # it takes a while to look, and is asked again and again
    run, store = setup.run(), setup.opened()
    ledgers = [Ledger(run, stream, store, 0) for stream in run.synthetic]
    return all(each.manifest(0).watermark < each.manifest(each.count() - 1).watermark for each in ledgers)


STREAMS = {
    "web": {"share": "1/4"},
    "megadocs": {"share": "1/2", "recipe": Stitch(generations=8, per_round=1)},
    "thoughts": {"share": "1/4", "recipe": Stretch(generations=4, per_round=1)},
}


QUESTIONS = {
    "web": {"share": "1/4"},
    "problems_1": {"share": "1/4", "recipe": SynthLLM(generations=4, per_round=1)},
    "problems_2": {"share": "1/4", "recipe": SynthLLM(generations=4, per_round=1, level=2)},
    "problems_3": {"share": "1/4", "recipe": SynthLLM(generations=8, per_round=1, level=3)},
}


@pytest.mark.parametrize(
    ("reads", "times", "store"),
    [
        (Stitch(generations=8, per_round=1), KILLS, "{}/store"),
        (STREAMS, KILLS // 3, "{}/store"),
        (QUESTIONS, KILLS // 5, "{}/store"),
        (STREAMS, KILLS // 4, "file://{}/shared"),
    ],
    ids=["two", "many", "questions", "shared"],
)
def test_kills_leave_no_trace(tmp_path, reads, times, store):
    corpus = make_corpus(tmp_path, make_texts(300))
    setup = Setup(corpus, store.format(tmp_path), reads)
    rng, lives, kills, done = random.Random(0), [], {"trainer": 0, "generator": 0}, False

    def start(role: str) -> Child:
        if role == "generator":
            return Child(generate_for_ever, setup, 2000)
        lives.append(len(consumed(tmp_path)))
        return Child(train_for_ever, setup, rng.choice((0, 0, 1, 2)), tmp_path)

    with ExitStack() as stack:
        running = {role: start(role) for role in kills}
        stack.callback(lambda: [child.kill() for child in running.values()])
        for _ in range(times):
            role = rng.choice(("trainer", "trainer", "generator"))
            if rng.random() < 0.7:  # after some batches of this life; otherwise at any moment
                wanted = len(consumed(tmp_path)) + rng.randint(1, 8)
                wait_until(lambda wanted=wanted: len(consumed(tmp_path)) >= wanted)
            time.sleep(rng.uniform(0, 0.1))
            if role == "generator" and not done and running[role].answers(0):
                done = running[role].result() is None  # all is written, where training is slow
            if role == "generator" and done:
                continue
            assert running[role].process.is_alive(), running[role].result()
            running[role].kill()
            kills[role] += 1
            running[role] = start(role)
        wanted = len(consumed(tmp_path)) + 10
        wait_until(lambda: len(consumed(tmp_path)) >= wanted and has_grown(setup))

    found: dict[int, Batch] = {}
    for position, batch in consumed(tmp_path):
        assert found.setdefault(position, batch) == batch, f"position {position} was read in two ways"
    batches = len(found)
    assert sorted(found) == list(range(0, batches * GLOBAL_BATCH, GLOBAL_BATCH))
    assert [found[position] for position in sorted(found)] == Child(read_in_one_go, setup, batches).result()
    # It was a real run: both were killed often, batches were read again, and generations grew meanwhile.
    assert all(count > times // 5 for role, count in kills.items() if role == "trainer" or not done)
    assert len(consumed(tmp_path)) > batches > times
    assert has_grown(setup)
