"""What comes of a run is watched: one that gives nothing ends with an error that says why, and can be mended."""

import asyncio
import dataclasses
import itertools
import json
import logging
import random
import re
from typing import get_args

import pytest
import yaml
from typer.testing import CliRunner

from conftest import OPEN_GATES, make_loop, make_run
from streamdocs import Stitch, Stretch
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError
from streamdocs.generations.encoding import TextRecord, decode_text
from streamdocs.generations.progress import read_tallies, total
from streamdocs.generations.records import StoreShelf
from streamdocs.generations.rejected import MOST_CHARS, MOST_TEXTS, RejectedText, read_rejected, rejections
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.programs.styles import STYLES
from streamdocs_server.cli import app, serve_run
from streamdocs_server.engines import Answer, Completion, RequestRefusedError
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Cause, Gates
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.outcome import Corrections, Outcome, small_model_warning
from streamdocs_server.work.resolve import Resolver
from streamdocs_server.work.retire import reopen


def serve(loop) -> None:
    asyncio.run(asyncio.wait_for(loop.run(), 60))


WORDS = [f"word{number}" for number in range(5000)]
GATES = Gates(min_shared=0, same_language=False, min_ratio=None, max_copied=1)


class Saying(TemplateEngine):
    """Says what ``say`` makes of a text of the template engine: a text, a completion, or an error."""

    def __init__(self, say) -> None:
        super().__init__()
        self.say, self.asked = say, []

    async def generate(self, request, seed):
        self.asked.append((request.prompt, request.n))
        answer = await super().generate(request, seed)
        said = [self.say(each.text, number) for number, each in enumerate(answer.completions)]
        if isinstance(said[0], Exception):
            raise said[0]
        completions = [each if isinstance(each, Completion) else Completion(each, "stop", 1) for each in said]
        return Answer(tuple(completions), answer.prompt_tokens)


@pytest.mark.parametrize(
    ("say", "told"),
    [
        (lambda text, _: Completion("", "length", 9, reasoned=True), "only reasoning .*enable_thinking"),
        (lambda text, _: f"<think>\n{text}", "only reasoning .*enable_thinking"),
        (lambda text, _: Completion("never a whole sen", "length", 9), "cut off .*max_tokens"),
        (lambda text, _: "I'm sorry, but I can't help with that.", "refusal .*recipe.prompt"),
        (lambda text, _: RequestRefusedError("no", "too long for the context"), "too long for the context .*context"),
    ],
)
def test_a_run_of_which_nothing_is_accepted_stops_and_says_why(small_corpus, store, say, told):
    run, engine = make_run(small_corpus, Stitch(generations=2)), Saying(say)
    loop = make_loop(run, store, engine=engine, gates=GATES, max_in_flight=4)
    with pytest.raises(EngineError, match=rf"No generation of 3\d documents was accepted: rejected: {told}"):
        serve(loop)
    assert len(engine.asked) < 80 and not loop.finished  # of 39 documents at most, each twice at most


def test_one_text_for_all_documents_stops_too(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=1))
    with pytest.raises(EngineError, match="are the same one"):
        serve(make_loop(run, store, engine=Saying(lambda *_: "The same text, whatever the document says.")))


def test_a_small_run_without_a_generation_does_not_end_as_if_all_were_well(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=1))
    loop = make_loop(run, store, engine=Saying(lambda *_: "..."), gates=GATES)
    loop.statistics.outcome = Outcome(patience=1000)
    with pytest.raises(EngineError, match=r"No generation of 100 documents was accepted: rejected: empty 100"):
        serve(loop)
    assert loop.finished and loop.state == "all rounds are done, and nothing is of use"
    with pytest.raises(EngineError, match="--again"):  # nor is it when it is started again
        serve(make_loop(run, store))


def test_the_closing_account_tells_what_is_odd(small_corpus, store, caplog):
    caplog.set_level(logging.INFO)

    def say(text, number):
        return "" if number else f"As everybody knows, and as was said before: {text}"

    run = make_run(small_corpus, Stitch(generations=4), by=Generator(model="small"))
    serve(make_loop(run, store, engine=Saying(say)))
    (told,) = [each for each in caplog.records if "generations of 100 documents accepted" in each.getMessage()]
    assert told.levelname == "WARNING"
    collapsed = 'style stitch by small (synthetic) has collapsed: 100.0% begin with "as everybody knows, and as was"'
    for expected in ("25% of 400", "100% of them distinct", collapsed, "empty 300"):
        assert expected in told.getMessage()


def test_a_style_that_collapses_is_named_once_until_it_has_recovered(small_corpus, caplog):
    styles = {"easy": 1, "faq": 1, "template-facts": 1}
    scope = make_run(small_corpus, Stitch(generations=3, styles=styles), by=Generator(model="small")).stream().scope
    assert [scope.author(0, number).style for number in range(3)] == [*styles]
    outcome, count = Outcome(), itertools.count()

    def told(texts: int, begins: str) -> list[str]:
        caplog.clear()
        for number in itertools.islice(count, texts):
            text = " ".join(random.Random(number).choices(WORDS, k=50))
            outcome.compare(scope, 0, [text, begins + text, f"Facts of every document alike: {text}"], "A document.")
        return [each.getMessage() for each in caplog.records]

    assert told(240, "") == []
    (warning,) = told(1500, "Here are some frequently asked questions: ")
    assert warning.startswith("style faq by small (synthetic) has collapsed: of its newest ")
    assert 'begin with "here are some frequently asked questions:"; have its prompt' in warning
    assert told(1000, "") == told(1000, "") == []  # its newest thousand are sound
    assert len(told(1000, "Here are some frequently asked questions: ")) == 1
    account, odd = outcome.account()
    assert not odd and account == "nothing had to be asked for"
    outcome.add(TextRecord(["A text."], [None]))
    account, odd = outcome.account()
    assert odd and "style faq by small (synthetic) has collapsed: " in account and "easy" not in account


def test_a_text_that_was_corrected_is_held_against_what_it_was():
    outcome, program = Outcome(), STYLES["correct"]
    assert program.rewrites == (("draft", "corrected"),)
    assert not any(STYLES[name].rewrites for name in STYLES if name != "correct")
    rows = [
        {"draft": "one two two three", "critique": "None.", "corrected": "one two two three"},
        {"draft": "one two two three", "critique": "It is four.", "corrected": "three two one one four"},
    ]
    outcome.correct("a", program, rows)
    outcome.correct("b", program, rows[1:])
    outcome.correct("b", STYLES["easy"], [{"text": "one"}])
    assert outcome.corrections == {
        ("a", "correct"): Corrections(texts=2, unchanged=1, words=8, dropped=1, added=2),
        ("b", "correct"): Corrections(texts=1, unchanged=0, words=4, dropped=1, added=2),
    }
    outcome.add(TextRecord(["A text."], [None]))
    told, _ = outcome.account()
    assert "correct (a): 12% of the words changed, 1 of 2 texts unchanged; correct (b): 25% of" in told


@pytest.mark.parametrize("distinct", [True, False])
def test_a_document_gets_no_text_twice(small_corpus, store, distinct):
    run = make_run(small_corpus, Stitch(generations=4, per_round=2))

    class Cold(TemplateEngine):
        """As a model at temperature 0."""

        async def generate(self, request, seed):
            answer = await super().generate(request, 7)
            return Answer(answer.completions[:1] * request.n, answer.prompt_tokens)

    gates = dataclasses.replace(OPEN_GATES, distinct=distinct)
    serve(make_loop(run, store, engine=Cold(), gates=gates))
    held = total(read_tallies(store, run.stream().scope).values())
    # But for a few, where two rounds of a document are asked for at the same time.
    assert 100 <= held.generations < 116 if distinct else held.generations == 400
    assert held.rejected["duplicate"] == 400 - held.generations


@pytest.mark.parametrize("recipe", [Stitch(generations=4), Stretch(generations=4, per_round=2)])
def test_what_was_rejected_is_asked_for_again_and_what_was_accepted_stays(small_corpus, store, recipe):
    run = make_run(small_corpus, recipe)
    first = Saying(lambda text, number: "" if len(text) % 3 else text)
    serve(make_loop(run, store, engine=first))
    before, kept = total(read_tallies(store, run.stream().scope).values()), texts(run, store)
    assert before.rejected["empty"] > 50 and before.generations > 50
    with pytest.raises(ConfigError, match=r"'refusal': nothing was rejected for that. There is 'empty' \(\d+\)"):
        reopen(store, [run.stream().scope], ["refusal"])
    causes = reopen(store, [run.stream().scope], ["all"])
    assert causes == {"empty"}
    second = Saying(lambda text, _: f"Again: {text}")
    loop = make_loop(run, store, engine=second)
    loop.lanes[0].resolver = Resolver(run.stream().scope, store, Desk.of(second), OPEN_GATES, 1, again=causes)
    serve(loop)
    after, now = total(read_tallies(store, run.stream().scope).values()), texts(run, store)
    assert after.generations == before.generations + before.rejected["empty"] and not after.rejected
    assert sum(n for _, n in second.asked) == before.rejected["empty"]
    assert all(new == old or (old is None and new.startswith("Again: ")) for new, old in zip(now, kept, strict=True))
    with store.read() as snapshot:  # tokens are those of the texts
        shelf = StoreShelf(snapshot, run.stream().scope, 0, deep=True)
        assert not shelf.lost() and shelf.watermark == run.stream().scope.generation_order.total_items
    serve(make_loop(run, store, engine=(idle := Saying(lambda text, _: text))))
    assert not idle.asked


def texts(run, store) -> list[str | None]:
    found = []
    with store.read() as snapshot:
        for round in range(run.stream().recipe.cycle):
            for document in range(100):
                key = run.stream().scope.keyring.key(run.corpus.document_digest(document), round)
                found += decode_text(key, snapshot.get("texts", key.digest)).texts
    return found


def test_a_sample_of_rejected_texts_is_kept(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=2))

    def say(text, number):
        return f"I'm sorry, but I can't help with that. {text}" if number else text

    serve(make_loop(run, store, engine=Saying(say), gates=GATES))
    sample = list(read_rejected(store, run.stream().scope))
    assert len(sample) == MOST_TEXTS and {each.cause for each in sample} == {"refusal"}
    assert all(each.text.startswith("I'm sorry") and 0 <= each.document < 100 for each in sample)
    newer = [RejectedText(1, 0, cause, "\ud800" + "x" * 9999) for cause in ("empty", "refusal")]
    outcome = Outcome()
    for each in newer:
        outcome.reject(each)
    store.update_all(rejections(run.stream().scope, outcome.take_samples()))
    sample = list(read_rejected(store, run.stream().scope))
    assert len(sample) == MOST_TEXTS + 1 and [len(s.text) for s in sample if s.document == 1][-1] == MOST_CHARS
    assert not outcome.take_samples()
    store.update(b"rejected/" + run.stream().scope.id + b"/empty", lambda _: b"damaged")
    assert len(list(read_rejected(store, run.stream().scope))) == MOST_TEXTS


@pytest.mark.parametrize(
    ("model", "temperature", "warned"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 1.0, True),
        ("Qwen/Qwen3-0.6B", 1.0, True),
        ("Qwen/Qwen3-0.6B", 0.5, False),
        ("Qwen/Qwen3-8B", 1.0, False),
        ("Qwen/Qwen3-30B-A3B", 1.0, False),
        ("template", 1.0, False),
    ],
)
def test_a_small_model_that_is_sampled_hotly_is_warned_of(model, temperature, warned):
    said = small_model_warning(Generator(model=model, temperature=temperature))
    assert ("preset: small" in (said or "")) == warned


def test_an_outcome_counts_what_it_is_told():
    outcome = Outcome(patience=2)
    assert outcome.account() == ("nothing had to be asked for", False)
    outcome.add(TextRecord([None], ["empty"]))
    outcome.add(TextRecord(["A text."], [None]))
    outcome.add(TextRecord([None], ["empty"]))
    outcome.add(TextRecord([None], ["empty"]))  # not from the first on: others may be accepted again
    assert (outcome.documents, outcome.accepted, outcome.rejected) == (4, 1, {"empty": 3})


@pytest.mark.parametrize("cause", get_args(Cause))
def test_every_cause_has_advice(cause):
    outcome = Outcome()
    outcome.add(TextRecord([None], [cause]))
    told, _ = outcome.account()
    assert re.search(rf"rejected: {cause} 1 \([a-z`].{{15,}}\)", told), told
    assert cause != "too short" or ("`least`" in told and "min_ratio" in told)


def test_the_command_asks_again(small_corpus, tmp_path, monkeypatch):
    fields = {"corpus": str(small_corpus), "store": "store", "recipe": {"name": "stitch", "generations": 2}}
    run_file = tmp_path / "run.yaml"
    run_file.write_text(yaml.safe_dump({**fields, "mix": {"window": 32}, "server": {"attempts": 1}}))
    saying = Saying(lambda text, number: "" if number else text)
    monkeypatch.setattr("streamdocs_server.work.desk.make_engine", lambda *_: saying)
    served = CliRunner().invoke(app, [str(run_file)])
    assert served.exit_code == 0 and json.loads(served.stdout.splitlines()[-1])["rejected"] == {"empty": 100}
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="There is 'empty' \\(100\\)"):
        asyncio.run(serve_run(RunFile.load(run_file), ["refusal"]))
    served = CliRunner().invoke(app, [str(run_file), "--again", "empty"])
    assert served.exit_code == 0 and json.loads(served.stdout.splitlines()[-1])["generations_written"] >= 150
