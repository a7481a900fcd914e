"""Questions about walks against a real store: what docs/synthllm.md says, worked out from what was sealed and kept."""

import asyncio
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from conftest import TEMPLATE, make_corpus, make_loop, make_run, make_texts
from servers import wait_until
from streamdocs import StreamingMegadocDataset, SynthLLM
from streamdocs.auditing.audit import audit
from streamdocs.errors import EngineError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.progress import read_tallies, total
from streamdocs.graph.build import build_edition
from streamdocs.graph.walks import Walks
from streamdocs.plans.editions import Editions
from streamdocs.recipes.keys import step_key
from streamdocs.recipes.programs.chunks import head
from streamdocs.recipes.programs.concepts import Concepts
from streamdocs.store import LmdbStore
from streamdocs_server.engines import Answer, Completion
from streamdocs_server.gates.questions import BANDS, bands
from streamdocs_server.work.retire import reopen

DOCUMENTS = 48
EDITIONS = ("1/4", "1/2", "1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("walks"), make_texts(DOCUMENTS))


class Scripted:
    """Names a document's topics by its length, asks and answers by digest, and takes its time with some."""

    def __init__(self, slow: str = "", few: int = 0) -> None:
        self.asked: Counter = Counter()
        self._slow, self._few = slow, few

    async def model(self) -> tuple[str, str]:
        return "template", "1"

    async def fit(self, request):
        return request

    async def generate(self, request, seed) -> Answer:
        fields = tuple(sorted(request.fields.items()))
        self.asked[request.step.name, fields] += request.n
        digest = hashlib.sha256(repr([self._slow, fields]).encode()).digest()
        await asyncio.sleep(digest[0] / 10_000 if self._slow else 0)
        texts = [self._say(request, seed + number) for number in range(request.n)]
        return Answer(tuple(Completion(text, "stop", 4) for text in texts), 1)

    def _say(self, request, seed: int) -> str:
        fields = request.fields
        digest = hashlib.sha256(repr([sorted(fields.items()), seed]).encode()).hexdigest()
        if request.step.name == "concepts":
            size = len(fields["document"])
            names = "\n".join(f"- idea {size % base} of {base}" for base in (2, 3, 5, 7))
            return "".join(f"<topic>field {size % base} of {base}\n{names}</topic>" for base in (2, 3))
        if request.step.name == "question":
            several = [digest[at : at + 8] for at in range(0, 8 * request.step.most, 8)]
            what = (int(each, 16) % self._few if self._few else each for each in several)
            return "".join(f"<question>What about {each} and all that follows from it?</question>" for each in what)
        return f"That is {digest}, as far as anybody can tell from what is known of it so far, which is not much."


def serve(*loops, timeout=60) -> None:
    async def both() -> None:
        await asyncio.gather(*(loop.run() for loop in loops))

    asyncio.run(asyncio.wait_for(both(), timeout))


def recipe(**fields) -> SynthLLM:
    return SynthLLM(**{"level": 3, "generations": 4, "per_round": 2, "editions": EDITIONS, "max_share": 1, **fields})


def check(run, store) -> None:
    """Every text of a served run, by hand."""
    scope, made = run.stream().scope, run.stream().recipe
    documents = scope.concepts.order.order(0)
    concepts_step, (question, answer) = made.graph.concepts.program.steps[0], made.program.steps
    writer = scope.writers.default

    def kept(of, fields, ordinal):
        key = step_key(of, fields, writer, ordinal)
        with store.read() as snapshot:
            return decode_text(key, snapshot.get("texts", key.digest))

    def concepts(document):
        fields = {"document": head(scope.corpus.text(document), made.document_chars)}
        return Concepts.read(kept(concepts_step, fields, 0).texts[0]).topics

    sealed = Editions(store, scope.concepts.id, made.graph).sealed()
    editions = {}
    for share, each in zip(EDITIONS, sealed, strict=True):
        some = documents[: ceil(Fraction(share) * DOCUMENTS)].astype(np.int64)
        edition = build_edition(some, map(concepts, some.tolist()), min_documents=2, max_share=Fraction(1))
        assert (each.digest, each.documents) == (edition.digest, len(some))
        editions[each.digest] = Walks(edition, 0)
    used, said = Counter(), set()
    for round in range(made.total_rounds):
        plan, walks = scope.plans.of_round(round), made.round_size // made.per_call
        assert plan.first == used[plan.edition]
        used[plan.edition] += DOCUMENTS * walks
        records, order = {}, scope.generation_order
        blocks = range(round * order.blocks_per_round, (round + 1) * order.blocks_per_round)
        for document in (source for number in blocks for source in order.sources_of(order.block(number)).tolist()):
            key = scope.key(document, round)
            with store.read() as snapshot:
                records[document] = decode_text(key, snapshot.get("texts", key.digest))
            for number, slot in enumerate(made.slots_of_round(round)):
                walk = editions[plan.edition].walk(plan.first + document * walks + number // made.per_call)
                first, second = (head(scope.corpus.text(each), made.reference_chars) for each in walk.documents)
                fields = {"walk": "\n".join([*walk.topics, *walk.concepts]), "first": first, "second": second}
                asked = kept(question, fields, slot // made.per_call).texts[slot % made.per_call]
                text = f"{asked}\n\n{kept(answer, {'question': asked}, slot).texts[0]}"
                new = said.isdisjoint(bands(asked)) or not made.dedupe
                said |= {*bands(asked)} if new else set()
                expected = (text, None) if new else (None, "asked before")
                assert (records[document].texts[number], records[document].causes[number]) == expected
    assert len(sealed) == len(EDITIONS)


@pytest.mark.parametrize("questions", [1, 2])
def test_pairs_are_what_the_docs_say(corpus, store, questions):
    run, engine = make_run(corpus, recipe(questions=questions)), Scripted()
    serve(make_loop(run, store, engine=engine, max_lead=10**6))
    check(run, store)
    assert {name for name, _ in engine.asked} == {"concepts", "question", "answer"}
    assert sum(count for (name, _), count in engine.asked.items() if name == "concepts") == DOCUMENTS


def test_two_servers_agree_and_ask_for_nothing_twice(corpus, store):
    run, engine = make_run(corpus, recipe()), Scripted(slow="both")
    runs = {name: make_run(corpus, recipe()) for name in ("a:1", "b:1")}
    loops = [make_loop(each, store, engine=engine, max_lead=10**6, name=name) for name, each in runs.items()]
    serve(*loops)
    run.stream().scope.attach(store)
    check(run, store)
    assert {count for (name, _), count in engine.asked.items() if name == "concepts"} == {1}


def dropped(corpus, folder, slow: str) -> tuple[list, int]:
    """What was left out, whatever took how long; and how many pairs there are."""
    store = LmdbStore(folder)
    run = make_run(corpus, recipe(editions=("1/4",)))  # so that all have the same walks
    serve(make_loop(run, store, engine=Scripted(slow, few=150), max_lead=10**6))
    scope, found = run.stream().scope, []
    for round in range(2):
        for document in range(DOCUMENTS):
            key = scope.key(document, round)
            with store.read() as snapshot:
                found.append(decode_text(key, snapshot.get("texts", key.digest)).causes)
    return found, sum(cause is None for causes in found for cause in causes)


def test_what_was_asked_before_does_not_hang_on_who_is_fast(corpus, tmp_path):
    found = [dropped(corpus, tmp_path / slow, slow) for slow in ("x", "y", "z")]
    assert found[0] == found[1] == found[2]
    assert 50 < found[0][1] <= 150  # of 192 pairs, and 150 questions


def test_what_was_asked_before_can_be_asked_again(corpus, store):
    run = make_run(corpus, SynthLLM(generations=2, questions=1))
    scope = run.stream().scope
    serve(make_loop(run, store, engine=Scripted(few=60), max_lead=10**6))
    before, kept = total(read_tallies(store, scope).values()), pairs_of(run, store)
    assert before.rejected.keys() == {"asked before"} and 36 <= before.rejected["asked before"] < 2 * DOCUMENTS
    causes = reopen(store, [scope], ["asked before"])
    loop = make_loop(run, store, engine=Scripted(), max_lead=10**6)
    for lane in loop.lanes:
        lane.resolver = replace(lane.resolver, again=causes)
    serve(loop)
    after, found = total(read_tallies(store, scope).values()), pairs_of(run, store)
    assert not after.rejected and after.generations == 2 * DOCUMENTS
    assert all(text == kept[at] for at, text in enumerate(found) if kept[at])
    questions = [text.partition("\n")[0] for text in found]
    assert len({band for each in questions for band in bands(each)}) == BANDS * len(questions)


def pairs_of(run, store) -> list[str | None]:
    scope, found = run.stream().scope, []
    for document in range(DOCUMENTS):
        key = scope.key(document, 0)
        with store.read() as snapshot:
            found += decode_text(key, snapshot.get("texts", key.digest)).texts
    return found


def test_what_ends_between_two_steps_asks_for_nothing_twice(corpus, store):
    asked: Counter = Counter()
    for _ in range(60):
        engine = Scripted()
        engine.generate = _until(engine.generate, 90)
        loop = make_loop(make_run(corpus, recipe()), store, engine=engine, max_lead=10**6)
        try:
            serve(loop)
        except EngineError:
            asked += engine.asked
            continue
        asked += engine.asked
        break
    assert loop.finished
    run = make_run(corpus, recipe())
    run.stream().scope.attach(store)
    check(run, store)
    with store.read() as snapshot:
        texts = sum(1 for _ in snapshot.keys("texts", b""))
    assert sum(asked.values()) == texts - DOCUMENTS - 2 * DOCUMENTS  # less the records of items


def _until(generate, most: int):
    answered = 0

    async def some(request, seed):
        nonlocal answered
        if answered >= most:
            raise EngineError("out of power")
        answered += 1
        return await generate(request, seed)

    return some


def test_a_graph_that_is_made_otherwise_from_some_moment_on(corpus, store):
    engine = Scripted()
    engine.generate = _until(engine.generate, DOCUMENTS + 30)  # within round 0
    with pytest.raises(EngineError, match="out of power"):
        serve(make_loop(make_run(corpus, recipe(generations=8)), store, engine=engine, max_lead=10**6))
    run = make_run(corpus, recipe(generations=8, min_documents=5))
    serve(make_loop(run, store, engine=Scripted(), max_lead=10**6))
    scope = run.stream().scope
    planned = [scope.plans.of_round(round).edition for round in range(4)]
    assert planned[0] not in {each.digest for each in scope.editions.sealed()}
    assert planned[3] == scope.editions.sealed()[-1].digest
    for round in range(4):
        assert scope.edition(round) and len(scope.walks(0, round)) == 2
        with store.read() as snapshot:
            key = scope.key(0, round)
            assert any(decode_text(key, snapshot.get("texts", key.digest)).texts)


def test_a_graph_without_topics_is_an_error_that_says_so(corpus, store):
    loop = make_loop(make_run(corpus, recipe(min_documents=40)), store, engine=Scripted(), max_lead=10**6)
    with pytest.raises(EngineError, match=r"no topics.*lower recipe.min_documents \(40\)"):
        serve(loop)


def test_a_graph_without_topics_ends_its_stream_and_no_other(corpus, store, caplog):
    streams = {
        "web": {"share": "1/2"},
        "documents": {"share": "1/4", "recipe": SynthLLM(generations=2, per_round=1)},
        "walks": {"share": "1/4", "recipe": recipe(min_documents=40)},
    }
    loop = make_loop(make_run(corpus, streams), store, engine=Scripted(), max_lead=10**6)
    serve(loop)
    assert {lane.name: lane.watermark for lane in loop.lanes if lane.scope.is_read} == {
        "documents": 2 * DOCUMENTS,
        "walks": 0,
    }
    assert "nothing is written of stream walks: the graph of concepts of 48 documents has no topics" in caplog.text
    serve(make_loop(make_run(corpus, streams), store, engine=Scripted(), max_lead=10**6))  # nor after a restart


def test_without_an_edition_a_round_is_not_begun(corpus, store):
    loop = make_loop(make_run(corpus, recipe()), store, engine=Scripted(), max_lead=10**6)
    concepts, pairs = loop.lanes
    assert (concepts.next_block(), pairs.next_block()) == (0, None)
    assert not pairs.waits_for_trainer


def test_a_graph_grows_while_training_reads_and_every_question_says_from_which_edition_it_is(corpus, store):
    class Waits(Scripted):
        """Extracts the concepts of documents when it is allowed to."""

        allowed: ClassVar[set[str]] = set()

        async def generate(self, request, seed) -> Answer:
            for _ in range(10_000):  # another thread allows it
                if request.step.name != "concepts" or request.fields["document"] in self.allowed:
                    break
                await asyncio.sleep(0.005)
            return await super().generate(request, seed)

    made, engine = recipe(generations=3, per_round=1), Waits()
    loop = make_loop(make_run(corpus, made, length=32, window=4), store, engine=engine, max_lead=16, max_in_flight=200)
    scope, position, read = loop.lanes[-1].scope, 0, {}
    texts = [corpus_text[:12_000] for corpus_text in map(scope.corpus.text, scope.concepts.order.order(0).tolist())]
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, loop, timeout=100)
        dataset = open_dataset(corpus, store, made)
        # Each block of 16 documents makes an edition, and each round of pairs begins with another one.
        for number in (1, 2, 3):
            engine.allowed |= {*texts[: 16 * number]}
            wait_until(lambda number=number: len(scope.editions.sealed()) == number)
            while scope.plans.find(number - 1) is None:
                read[position] = dataset[position]["input_ids"].tolist()
                position += 1
        assert [scope.edition(round) for round in range(3)] == [1, 2, 3]
        while not served.done():
            read[position] = dataset[position]["input_ids"].tolist()
            position += 1
        served.result()
    told = [segment.walk.edition for p in read for segment in dataset.explain(p) if segment.walk]
    assert told[0] == 1 and {*told} == {1, 2, 3}
    rows = audit(dataset).authors()
    assert [row["edition"] for row in rows] == [1, 2, 3] and all(row["generations"] > 0 for row in rows)
    again = open_dataset(corpus, store, made)
    assert {p: again[p]["input_ids"].tolist() for p in read} == read


def open_dataset(corpus, store, made) -> StreamingMegadocDataset:
    return StreamingMegadocDataset(
        local=corpus,
        store=store,
        recipe=made,
        generator=TEMPLATE,
        synthetic_fraction=0.75,
        max_seq_len=32,
        window=4,
        shuffle_seed=17,
        batch_size=4,
        wait_timeout=60,
        when_behind="wait",
    )
