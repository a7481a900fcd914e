"""Programs against a real store: what docs/programs.md says, worked out by hand from the steps that were kept."""

import asyncio
import gc
import re
import weakref
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from anyio import CapacityLimiter

from conftest import OPEN_GATES, TEMPLATE, generate, make_corpus, make_loop, make_run, make_texts
from scripted import CHUNKED, JUDGED, TALK, Scripted, step
from streamdocs import Answer, Append, Correct, Judge, Program, Rephrase, Stitch, SynthLLM, Template, Think
from streamdocs._base.hashing import canonical, permutation, text_digest
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.progress import read_retired, read_tallies, total
from streamdocs.recipes.keys import Generator, Writers, step_key
from streamdocs.recipes.programs.chunks import chunks, head, tail
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs_server.engines.writer import Writer
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.retire import reopen

LARGE = Generator(model="large")
DOCUMENTS = 30


@pytest.fixture(scope="module")
def few_documents(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("few"), make_texts(DOCUMENTS))


TWICE_JUDGED = Program(
    name="twice",
    steps=(
        step("plan", "Plan {document} {first}"),
        step("first", "Judge {plan}", parser="verdict", back="plan"),
        step("text", "Write {plan} {second}", n=2),
        step("second", "Judge {text}", parser="verdict", back="plan"),
        step("last", "Judge {text} again", parser="verdict"),
    ),
    template="{text}",
)


CONCEPTS = step("concepts", "About {document}", parser="concepts", once=True)
DEALT = Program(
    name="dealt",
    steps=(
        step("question", "Ask about: {document}", parser="list", most=2, deal=True),
        step("answer", "{question}", n=2),
    ),
    template="{question} {answer}",
)
SHORT = Program(name="short", steps=(step("question", "Ask of: {document}", parser="list", most=5, deal=True),))
CHOSEN = Program(
    name="chosen",
    steps=(
        CONCEPTS,
        step("question", "Ask about {chosen} of {document}", parser="list", most=3, deal=True),
        step("plan", "Plan {question} {fit}"),
        step("fit", "Judge {plan}", parser="verdict", back="plan"),
    ),
    template="{question} {plan}",
    choose="concepts",
    chunk=250,
)
LISTED = Program(
    name="listed",
    steps=(
        step("concepts", "Mind {document}", parser="concepts", n=2),
        step("point", "{chosen}", parser="list", once=True),
    ),
    choose="concepts",
)

#: Of programs without steps that are shared, from before there were any.
DIGESTS = {
    "talk": "61cc47ae4da5044a7358d00b9f392fbd",
    "chunked": "6ddd7160e3993f4ffe3f0b54f4292f91",
    "judged": "de03944a02ab77a1060ca40126e2325c",
    "twice": "0d3f4e159bac7a5fc4f9fb6afc34d2a1",
}


class Reference:
    """What a slot has to be, from the steps in the store and docs/programs.md alone."""

    def __init__(self, run: Run, store) -> None:
        self.scope, self.snapshot = run.stream().scope, store.read
        self.used: set[bytes] = set()

    def record(self, of, fields, writer, ordinal, sent=0):
        filled = {name: fields.get(name, "") for name in of.inputs}
        if of.once:
            ordinal = sent = 0
        key = step_key(of, filled, self.scope.writers[writer], ordinal // of.most if of.deal else ordinal, sent)
        self.used.add(key.digest)
        with self.snapshot() as snapshot:
            return decode_text(key, snapshot.get("texts", key.digest))

    def outputs(self, of, record) -> list[dict[str, str]]:
        if of.parser == "list":
            return [{of.name: text} for text in record.texts[: of.most]]
        if of.parser == "record":
            return [dict(zip(of.tags, record.texts, strict=True))]
        return [{of.name: record.texts[-1]}]

    def rows(self, program, writers, values, ordinal, number=0, sent=()) -> list[dict[str, str] | str]:
        """Rows after the steps from ``number`` on; a cause for one that ended."""
        if number == len(program.steps):
            return [values]
        of, found = program.steps[number], []
        for answer in range(of.n):
            record = self.record(of, values, writers[number], ordinal * of.n + answer, len(sent))
            if record.texts[0] is None:
                found.append(record.causes[0])
                continue
            if of.deal:
                dealt = self.outputs(of, record)[ordinal % of.most :]
                found += (
                    self.rows(program, writers, {**values, **dealt[0]}, ordinal, number + 1, sent)
                    if dealt
                    else ["too few"]
                )
                continue
            for output, given in enumerate(self.outputs(of, record)):
                after = {**values, **given, **self.chosen(program, of, values, given, ordinal * of.n + answer)}
                each = (ordinal * of.n + answer) * (of.most if of.parser == "list" else 1) + output
                if of.parser == "verdict" and record.texts[0] != "accept":
                    if record.texts[0] == "reject" or of.back is None or of.name in sent:
                        found.append("judged unfit")
                        continue
                    back = [every.name for every in program.steps].index(of.back)
                    found += self.rows(program, writers, after, each, back, (*sent, of.name))
                else:
                    found += self.rows(program, writers, after, each, number + 1, sent)
        return found

    def chosen(self, program, of, values, given, ordinal) -> dict[str, str]:
        """Pairs and triples in turn, read off one order of the key concepts after another."""
        if of.name != program.choose:
            return {}
        seed = text_digest(canonical({name: values[name] for name in of.inputs})).hex()
        found = re.findall(r"^- (.*)", given[of.name], re.MULTILINE)
        names = [name for at, name in enumerate(found) if name.lower() not in map(str.lower, found[:at])]
        dealt = [each.most for each in program.steps[program.steps.index(of) :] if each.deal]
        order, orders, chosen = list[str](), 0, names
        for number in range(ordinal // (dealt or [1])[0] + 1 if len(names) > 2 else 0):
            chosen = []
            while len(chosen) < 2 + number % 2:
                if not order:
                    order, orders = [names[at] for at in permutation(len(names), "concepts", seed, orders)], orders + 1
                chosen.append(next(name for name in order if name not in chosen))
                order.remove(chosen[-1])
        return {"chosen": "\n".join(chosen)}

    def slot(self, task, source) -> tuple[str | None, str | None]:
        program, texts = task.team.program, []
        parts = chunks(source, program.chunk) if program.chunk else [source]
        for part in parts:
            values = {"document": part, "previous": tail(program.join.join(texts)), "before": "", "after": ""}
            found = self.rows(program, task.team.writers, values, task.ordinal)
            whole = [row for row in found if not isinstance(row, str)]
            if not whole:
                return None, found[0]
            filled = []
            for row in whole:
                text = program.template
                for name, value in row.items():
                    text = text.replace("{" + name + "}", value)
                filled.append(text)
            texts.append(program.join.join(filled))
        text = program.join.join(texts)
        return (None, "too short") if len(text) < min(program.least, len(source) // 2) else (text, None)


def run_of(corpus, recipe, writers) -> Run:
    mix = {"max_seq_len": 64, "window": 32, "shuffle_seed": 17, "synthetic_fraction": "0.75"}
    return Run.of(RunFile(corpus=str(corpus), store="nowhere", recipe=recipe, mix=mix), writers)


def serve(loop, timeout=60) -> None:
    asyncio.run(asyncio.wait_for(loop.run(), timeout))


def check(run: Run, store) -> Reference:
    """Every text of a run that was served is what the reference says, and nothing else is in the store."""
    scope, reference, items = run.stream().scope, Reference(run, store), set()
    recipe = scope.recipe
    for round in range(read_retired(store, scope), recipe.total_rounds):
        for document in range(len(scope.corpus.documents)):
            key = scope.key(document, round)
            items.add(key.digest)
            with store.read() as snapshot:
                record = decode_text(key, snapshot.get("texts", key.digest))
            for number, slot in enumerate(recipe.slots_of_round(round)):
                task = recipe.tasks[slot].of_cycle(round // recipe.cycle)
                source = scope.corpus.text(document)
                text, cause = reference.slot(task, head(source, getattr(recipe, "document_chars", len(source))))
                assert (record.texts[number], record.causes[number]) == (text, cause), (round, document, slot)
    with store.read() as snapshot:
        assert {key for key, _ in snapshot.scan("texts", b"")} == items | reference.used
    return reference


RECIPES = [
    Rephrase(generations=2, styles={TALK: 1}),
    Rephrase(generations=4, per_round=2, styles={TALK: 1, CHUNKED: 1}),
    Stitch(generations=4, per_round=1, styles={JUDGED: 3, TALK: 1}),
    Stitch(generations=2, per_round=1, rounds=5, styles={CHOSEN: 1, JUDGED: 1}),
    Rephrase(generations=2, styles={TWICE_JUDGED: 1}),
    Rephrase(generations=4, per_round=2, styles={DEALT: 1}),
    Stitch(generations=8, per_round=4, styles={SHORT: 1, CHOSEN: 1}),
    Rephrase(generations=2, styles={LISTED: 1}),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_texts_are_what_the_docs_say(recipe, few_documents, store):
    run, engine = make_run(few_documents, recipe), Scripted(("accept", "revise", "reject"))
    serve(make_loop(run, store, max_lead=10**6, engine=engine))
    check(run, store)
    # Nothing is asked twice: as many answers as there are records of steps.
    with store.read() as snapshot:
        records = sum(1 for _ in snapshot.scan("texts", b""))
    if not read_retired(store, run.stream().scope):
        assert sum(engine.asked.values()) == records - DOCUMENTS * recipe.total_rounds


PACKAGED = [
    Append(generations=2),
    Think(generations=2, per_round=1),
    Answer(generations=2, per_round=1),
    Correct(generations=2),
    Judge(generations=4, per_round=2),
    Template(generations=4),
    Template(generations=4, per_round=1),
    SynthLLM(generations=10, document_chars=200, dedupe=False),
    SynthLLM(generations=4, per_round=2, level=2, layout="megadoc", dedupe=False),
    SynthLLM(generations=4, per_round=4, level=2, questions=2, choose="model", layout="append", dedupe=False),
    Stitch(generations=4, per_round=2, styles={"faq": 1, "knowledge-list": 1, "table": 2}),
]


@pytest.mark.parametrize("recipe", PACKAGED, ids=lambda recipe: f"{recipe.name}-{recipe.per_round}")
def test_packaged_recipes_are_what_the_docs_say(recipe, few_documents, store):
    run = make_run(few_documents, recipe)
    serve(make_loop(run, store, max_lead=10**6))
    check(run, store)
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.generations > 0.6 * DOCUMENTS * recipe.generations, held


OF_CONCEPTS = SynthLLM(generations=4, per_round=2, level=2, questions=2, dedupe=False)


@pytest.mark.parametrize("recipe", [*RECIPES[1:3], RECIPES[6], OF_CONCEPTS])
@pytest.mark.parametrize("every", [1, 37])
def test_what_ends_between_two_steps_asks_for_nothing_twice(recipe, every, few_documents, store):
    run, asked, answered = make_run(few_documents, recipe), Counter(), Counter()
    for _ in range(40):
        engine = Scripted(("accept", "revise", "reject"), stop_after=every if every > 1 else 60)
        try:
            serve(make_loop(run, store, max_lead=10**6, engine=engine, max_in_flight=every))
        except EngineError:
            asked, answered = asked + engine.asked, answered + engine.answered
            continue
        asked, answered = asked + engine.asked, answered + engine.answered
        break
    else:
        serve(make_loop(run, store, max_lead=10**6, engine=(engine := Scripted(("accept", "revise", "reject")))))
        asked, answered = asked + engine.asked, answered + engine.answered
    reference = check(run, store)
    assert sum(asked.values()) == len(reference.used)


class Critic(Scripted):
    """Whose critiques and verdicts are all the same."""

    def say(self, request, told: str) -> str:
        if request.step.name == "critique":
            return "Nothing."
        return (
            super().say(request, told) + " and so on" * 30
            if request.step.parser == "text"
            else "<verdict>accept</verdict>"
        )


@pytest.mark.parametrize("recipe", [Correct(generations=2), Judge(generations=4, per_round=2)])
def test_only_what_training_reads_has_to_differ(recipe, few_documents, store):
    run, engine = make_run(few_documents, recipe), Critic()
    serve(make_loop(run, store, max_lead=10**6, engine=engine))
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.generations == DOCUMENTS * recipe.generations and not held.rejected


def test_a_slot_that_is_asked_for_again_is_written_anew(few_documents, store):
    run = make_run(few_documents, Stitch(generations=2, styles={JUDGED: 1}))
    serve(make_loop(run, store, engine=Scripted(("accept", "reject"))))
    before = total(read_tallies(store, run.stream().scope).values())
    assert 0 < before.rejected["judged unfit"] < 2 * DOCUMENTS
    kept = texts_of(run, store)
    for verdict, left in (("reject", before.rejected["judged unfit"]), ("accept", 0)):
        causes = reopen(store, [run.stream().scope], ["judged unfit"])
        loop = make_loop(run, store, engine=(engine := Scripted((verdict,))))
        loop.lanes[0].resolver = replace(loop.lanes[0].resolver, again=causes)
        serve(loop)
        after = total(read_tallies(store, run.stream().scope).values())
        assert after.rejected["judged unfit"] == left
        assert sum(n for (name, _), n in engine.asked.items() if name == "text") == before.rejected["judged unfit"]
    assert all(texts_of(run, store)[at] == text for at, text in kept.items() if text)
    assert all(texts_of(run, store).values())


class Generous(Scripted):
    """Whose lists are long enough."""

    def say(self, request, told: str) -> str:
        return "".join(f"<question>{number} of {told}</question>" for number in range(9))


def test_what_a_list_had_too_few_outputs_for_is_asked_for_in_another(few_documents, store):
    run = make_run(few_documents, Rephrase(generations=10, styles={SHORT: 1}))
    serve(make_loop(run, store, engine=Scripted()))
    before, kept = total(read_tallies(store, run.stream().scope).values()), texts_of(run, store)
    assert before.rejected == {"too few": 2 * 2 * DOCUMENTS}  # two of each five
    causes = reopen(store, [run.stream().scope], ["too few"])
    loop = make_loop(run, store, engine=(engine := Generous()))
    loop.lanes[0].resolver = replace(loop.lanes[0].resolver, again=causes)
    serve(loop)
    assert sum(engine.asked.values()) == 2 * DOCUMENTS
    assert not total(read_tallies(store, run.stream().scope).values()).rejected
    after = texts_of(run, store)
    assert all(after.values()) and all(after[at] == text for at, text in kept.items() if text)


def texts_of(run, store) -> dict[tuple[int, int], str | None]:
    found = {}
    for document in range(DOCUMENTS):
        key = run.stream().scope.key(document, 0)
        with store.read() as snapshot:
            record = decode_text(key, snapshot.get("texts", key.digest))
        found.update({(document, number): text for number, text in enumerate(record.texts)})
    return found


def test_gates_of_a_step_that_cannot_be_are_told_before_anything_is_asked(few_documents, store):
    second = step("more", "{text}", gates={"min_ratios": 1})
    program = Program(steps=(step("text", "{document}"), second), name="wrong")
    with pytest.raises(ConfigError, match=r"step more: gates: .*min_ratios"):
        make_loop(make_run(few_documents, Rephrase(generations=1, styles={program: 1})), store, engine=Scripted())


def test_rows_that_may_be_sent_back_are_counted():
    listed = step("question", "{document}", parser="list", most=32)
    verdict = step("verdict", "{question}", parser="verdict", back="question")
    assert Program(steps=(listed,)).fanout == 32
    with pytest.raises(ConfigError, match="up to 1024 rows of outputs of one source; at most 256"):
        Program(steps=(listed, verdict))


def test_recipes_that_share_a_step_share_its_texts(few_documents, store):
    first = Program(name="first", steps=TALK.steps[:2], template="{answer}")
    for recipe in (Rephrase(generations=2, styles={TALK: 1}), Rephrase(generations=2, styles={first: 1})):
        engine = Scripted()
        serve(make_loop(make_run(few_documents, recipe), store, max_lead=10**6, engine=engine))
    assert not engine.asked


def test_streams_and_styles_that_share_a_step_ask_for_it_once(few_documents, store):
    first = Program(name="first", steps=TALK.steps[:2], template="{answer}")
    second = Program(name="second", steps=TALK.steps[:1], template="{question}")
    streams = {
        "web": {"share": "1/3"},
        "one": {"share": "1/3", "recipe": Rephrase(generations=4, styles={TALK: 1, first: 1})},
        "two": {"share": "1/3", "recipe": Stitch(generations=2, styles={second: 1})},
    }
    run, engine = make_run(few_documents, streams), Scripted()
    serve(make_loop(run, store, max_lead=10**6, engine=engine))
    by_step = Counter(name for (name, _), n in engine.asked.items() for _ in range(n))
    questions = 2 * 2 * DOCUMENTS  # of two slots, with two answers each
    one, two = (stream.scope for stream in run.synthetic)
    assert one.shares_steps_with(two) and not one.shares_with(two)  # so rounds of one retire, and their steps stay
    assert not one.shares_steps_with(make_run(few_documents, Stitch(generations=2)).stream().scope)
    assert by_step == {"question": questions, "answer": 2 * questions, "pair": 2 * questions}


def test_what_is_done_once_is_asked_once_by_all_slots_rounds_streams_and_writers(few_documents, store):
    question = step("question", "Ask about {chosen}", parser="list", deal=True, most=2)
    first = Program(name="first", steps=(CONCEPTS, question), choose="concepts")
    second = Program(name="second", steps=(CONCEPTS, step("text", "Write of {concepts}")), template="{text}")
    weights = {"small": 1, "large": 1}
    streams = {
        "web": {"share": "1/3"},
        "one": {"share": "1/3", "recipe": Rephrase(generations=4, per_round=2, styles={first: 1}, writers=weights)},
        "two": {"share": "1/3", "recipe": Stitch(generations=2, rounds=3, styles={second: 1})},
    }
    writers = Writers({"small": TEMPLATE, "large": LARGE})
    run, engine = make_run(few_documents, streams, by=writers), Scripted()
    serve(make_loop(run, store, max_lead=10**6, engine=engine))
    asked = Counter(name for (name, _), n in engine.asked.items() for _ in range(n))
    # Of four slots with two writers, two questions each.
    assert asked["concepts"] == DOCUMENTS and asked["question"] == 2 * DOCUMENTS
    assert {task.team.writers for task in run.stream("one").recipe.tasks} == {("", "small"), ("", "large")}


def test_levels_share_no_step_that_retires(few_documents):
    levels = {
        "web": {"share": "1/2"},
        "p": {"share": "1/2", "recipe": SynthLLM(generations=4, levels={1: "1/2", 2: "1/2"})},
    }
    one, two = (stream.scope for stream in make_run(few_documents, levels).synthetic)
    assert not one.shares_steps_with(two) and two.shares_steps_with(two)
    # The same answer to other questions is another step, and what is done once stays anyway.
    again = make_run(few_documents, SynthLLM(generations=2, level=2, choose="model")).stream().scope
    assert not again.shares_steps_with(two)
    assert again.shares_steps_with(make_run(few_documents, replace(again.recipe, generations=8)).stream().scope)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: step("text", "{document}", deal=True), "deal: only a list has outputs to deal"),
        (lambda: step("text", "{document}", once=True, n=2), "n=2; one answer is shared by several slots"),
        (lambda: step("text", "{document}", parser="list", once=True, deal=True), "once, deal: what all share cannot"),
        (lambda: step("text", "{document}", parser="concepts", tags=("topic",)), "tags: 1; .* others none"),
        (
            lambda: Program(steps=(step("text", "{document}"),), choose="text"),
            "choose='text'; it is the name of a step",
        ),
        (lambda: Program(steps=(CONCEPTS, step("chosen", "x")), choose="concepts"), "two steps give 'chosen'"),
        (
            lambda: Program(steps=(CONCEPTS, step("text", "{chosen}"))),
            r"its prompt has \{chosen\}, and there is no such",
        ),
    ],
)
def test_steps_that_cannot_be_shared_are_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


def test_programs_without_shared_steps_have_the_keys_they_had():
    of_today = {"talk": TALK, "chunked": CHUNKED, "judged": JUDGED, "twice": TWICE_JUDGED}
    assert {name: program.digest for name, program in of_today.items()} == DIGESTS
    once = replace(TALK, steps=(replace(TALK.steps[0], n=1, once=True), *TALK.steps[1:]))
    alone = Program(steps=(CONCEPTS, step("text", "Write of {concepts}")))
    assert once.digest not in DIGESTS.values() and replace(alone, choose="concepts").digest != alone.digest


def test_what_a_step_changes_of_an_earlier_one_is_counted(few_documents, store):
    steps = (
        step("draft", "Write {document}", kind="rephrase"),
        step("critique", "Judge {draft}"),
        step("last", "Mend {draft} {critique} {document}", kind="rephrase"),
        step("judge", "Judge {last}", parser="verdict"),
    )
    mended = Program(name="mended", steps=steps, template="{last}", chunk=200)
    run = make_run(few_documents, Stitch(generations=3, styles={mended: 2, TALK: 1}))
    engine = Scripted(("accept", "reject"))
    loop = make_loop(run, store, max_lead=10**6, engine=engine)
    serve(loop)
    check(run, store)
    # "draft" and a digest become "last" and another, whole chunk by whole chunk: the rejected ones come to nothing.
    with store.read() as snapshot:
        keys = [run.stream().scope.key(document, 0) for document in range(len(run.corpus.documents))]
        records = [decode_text(key, snapshot.get("texts", key.digest)) for key in keys]
    kept = sum(text.count("last ") for record in records for text in record.texts if text)
    ((stream, style), found) = loop.statistics.outcome.corrections.popitem()
    assert (stream, style) == ("synthetic", "mended") and found.texts >= kept > 0 and not found.unchanged
    assert found.words == found.dropped == found.added == 2 * found.texts


def test_slots_are_dealt_exactly(few_documents):
    recipe = Rephrase(generations=24, styles={TALK: 2, CHUNKED: 1, JUDGED: 1}, writers={"small": 3, "large": 1})
    counts = Counter((task.style, task.team.writers[0]) for task in recipe.tasks)
    assert Counter(style for style, _ in counts.elements()) == {"talk": 12, "chunked": 6, "judged": 6}
    assert Counter(writer for _, writer in counts.elements()) == {"small": 18, "large": 6}
    for style, slots in {"talk": 12, "chunked": 6, "judged": 6}.items():
        assert abs(counts[style, "large"] - Fraction(slots, 4)) < 1
    for number in range(24):  # any first slots have their shares within one
        styles = Counter(task.style for task in recipe.tasks[:number])
        assert all(abs(styles[name] - number * share) < 1 for name, share in {"talk": 0.5, "chunked": 0.25}.items())


def test_each_writer_is_asked_for_its_own_and_is_in_the_key(few_documents, store):
    recipe = Rephrase(generations=4, styles={TALK: 1}, writers={"small": 1, "large": 1, "answer": "large"})
    writers = Writers({"small": TEMPLATE, "large": LARGE})
    run = run_of(few_documents, recipe, writers)
    small, large = Scripted(), Scripted()
    desk = Desk(
        [
            Writer(name, lambda each=each: each, CapacityLimiter(64))
            for name, each in (("small", small), ("large", large))
        ]
    )
    serve(make_loop(run, store, max_lead=10**6, desk=desk))
    check(run, store)
    assert {name for name, _ in small.asked} == {"question", "pair"}
    assert sum(n for (name, _), n in small.asked.items() if name == "question") == DOCUMENTS * 2 * 2
    assert {name for name, _ in large.asked} == {"question", "answer", "pair"}
    other = run_of(few_documents, recipe, Writers({"small": TEMPLATE, "large": Generator(model="larger")}))
    assert other.stream().scope.key(3, 0) != run.stream().scope.key(3, 0)
    assert other.stream().scope.id != run.stream().scope.id and other.fingerprint != run.fingerprint


def test_a_writer_that_is_down_does_not_stop_the_others(few_documents, store, monkeypatch):
    monkeypatch.setattr("streamdocs_server.work.desk._PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("streamdocs_server.work.desk._PATIENCE_SECONDS", 1.0)
    recipe = Rephrase(generations=2, styles={CHUNKED: 1}, writers={"small": 1, "large": 1})
    run = run_of(few_documents, recipe, Writers({"small": TEMPLATE, "large": LARGE}))
    small, large = Scripted(), Scripted(stop_after=0)
    writers = [
        Writer(name, lambda each=each: each, CapacityLimiter(64)) for name, each in (("small", small), ("large", large))
    ]
    loop = make_loop(run, store, max_lead=10**6, desk=Desk(writers))
    with pytest.raises(EngineError, match="writer large: out of power"):
        serve(loop)
    expected = sum(small.asked.values())
    assert writers[1].fault == "out of power" and not large.answered and writers[0].up and not writers[1].up
    large.stop_after = None
    serve(
        make_loop(run, store, max_lead=10**6, desk=Desk([Writer(w.name, w.make, CapacityLimiter(64)) for w in writers]))
    )
    assert sum(small.asked.values()) == expected  # all that it had to write was there
    check(run, store)


def test_the_default_writer_has_no_name(few_documents):
    recipe = Rephrase(generations=2, styles={CHUNKED: 1})
    assert recipe.writers_of_round(0) == [DEFAULT_WRITER] * 2


def test_texts_of_gates_are_rejected_as_always(few_documents, store):
    run = make_run(few_documents, Stitch(generations=1, styles={CHUNKED: 1}))
    engine = Scripted()
    engine.say = lambda *_: ""
    loop = make_loop(run, store, max_lead=10**6, engine=engine, gates=OPEN_GATES)
    loop.statistics.outcome._patience = 1 << 30
    with pytest.raises(EngineError, match=r"no generation was accepted|No generation"):
        serve(loop)
    assert check(run, store).used


@pytest.mark.parametrize("recipe", [Stitch(generations=1), Correct(generations=1)], ids=["plain", "program"])
def test_a_store_that_nobody_uses_any_more_is_closed_at_once(recipe, few_documents, tmp_path):
    """A process can have some thirty open: none may wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        store = LmdbStore(tmp_path / "store")
        generate(make_run(few_documents, recipe), store)
        there = weakref.ref(store)
        del store
        assert there() is None
    finally:
        gc.enable()
