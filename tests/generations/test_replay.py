"""How a generation came to be, told from the store alone, against what the server noted while it wrote."""

from dataclasses import replace

import pytest

from conftest import OPEN_GATES, generate, make_corpus, make_run, make_texts
from scripted import CHUNKED, JUDGED, TALK, Scripted
from streamdocs import Correct, Rephrase, Stitch, Stretch
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.steps.replay import MOST_ASKED, story_of

RECIPES = {
    "talk": Rephrase(generations=2, styles={TALK: 1}),
    "chunked": Rephrase(generations=2, per_round=1, styles={CHUNKED: 1}),
    "judged": Rephrase(generations=2, styles={JUDGED: 1}),
    "correct": Correct(generations=2),
}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("few"), make_texts(8))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("verdicts", [("accept",), ("accept", "revise", "reject")])
def test_a_story_has_the_steps_that_were_noted_and_ends_in_the_text(few, store, name, verdicts):
    run = make_run(few, RECIPES[name])
    generate(run, store, engine=Scripted(verdicts))
    scope, texts = run.stream().scope, 0
    with store.read() as snapshot:
        for document in range(8):
            for round in range(scope.recipe.cycle):
                key = scope.key(document, round)
                record = decode_text(key, snapshot.get("texts", key.digest))
                for number, steps in enumerate(record.steps):
                    story = story_of(snapshot, scope, document, round, number)
                    assert story.whole and len(story.asked) < MOST_ASKED
                    assert {each.key for each in story.asked} == {step.hex() for step in steps}
                    assert all(each.answers or each.causes for each in story.asked)
                    if text := record.texts[number]:
                        texts += 1
                        assert any(answer in text for answer in story.asked[-1].answers) or name == "judged"
    assert texts


def test_a_step_that_is_gone_ends_the_story_there(few, store):
    run = make_run(few, RECIPES["talk"])
    generate(run, store, engine=Scripted())
    scope = run.stream().scope
    with store.read() as snapshot:
        first = story_of(snapshot, scope, 0, 0, 0).asked
    store.delete("texts", [bytes.fromhex(first[1].key)])
    with store.read() as snapshot:
        story = story_of(snapshot, scope, 0, 0, 0)
    assert not story.whole
    assert story.asked[0] == first[0]
    assert story.asked[1] == first[1]._replace(answers=[], causes=[], attempts=1)


@pytest.mark.parametrize("recipe", [Stitch(generations=4, per_round=2), Stretch(generations=4, per_round=2)])
def test_without_programs_there_is_one_question(few, store, recipe):
    run = make_run(few, recipe)
    generate(run, store)
    scope = run.stream().scope
    with store.read() as snapshot:
        stories = [story_of(snapshot, scope, 1, 1, number) for number in range(2)]
        key = scope.key(1, 1)
        record = decode_text(key, snapshot.get("texts", key.digest))
    for number, story in enumerate(stories):
        (asked,) = story.asked
        assert story.whole and asked.key == key.digest.hex() and list(asked.answers) == [record.texts[number]]
        assert asked.prompt and asked.writer == "template"
    # A thought is asked for at its own place in the document.
    assert (stories[0].asked[0].prompt == stories[1].asked[0].prompt) == (recipe.kind == "rephrase")


def test_what_was_rejected_has_its_cause(few, store):
    run = make_run(few, Stitch(generations=2))
    generate(run, store, gates=replace(OPEN_GATES, max_ratio=0.01))
    with store.read() as snapshot:
        (asked,) = story_of(snapshot, run.stream().scope, 0, 0, 0).asked
    assert asked.causes == ["too long"] and not asked.answers
