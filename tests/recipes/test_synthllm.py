"""The recipe of questions and answers: what it asks, how its units look, and what it refuses."""

import re
from fractions import Fraction

import numpy as np
import pytest

from streamdocs import Rephrase, Stitch, SynthLLM
from streamdocs.errors import ConfigError
from streamdocs.recipes.programs.chunks import head
from streamdocs.recipes.prompts import placeholders

LEVELS = {1: "1/4", 2: "1/4", 3: "1/2"}


def steps(**fields) -> dict[str, object]:
    return {step.name: step for step in SynthLLM(generations=10, **fields).program.steps}


@pytest.mark.parametrize(
    ("fields", "names", "reads"),
    [
        ({"level": 1}, ["question", "answer"], {"document"}),
        ({"level": 2}, ["concepts", "question", "answer"], {"document", "chosen"}),
        ({"level": 2, "choose": "model"}, ["concepts", "question", "answer"], {"document", "concepts"}),
        ({"level": 3}, ["question", "answer"], {"walk", "first", "second"}),
    ],
)
def test_what_is_asked_at_each_level(fields, names, reads):
    found = steps(**fields)
    assert [*found] == names
    assert {*found["question"].inputs} == reads and found["answer"].inputs == ("question",)
    for step in found.values():
        tags = {*re.findall(r"<(\w+)>", step.prompt)}
        assert tags == ({"level", "subject", "topic"} if step.parser == "concepts" else {*step.tags})
        assert "{count}" not in step.prompt and placeholders(step.prompt) == {*step.inputs}


def test_levels_share_the_concepts_and_the_answer_and_nothing_else():
    recipes = {level: SynthLLM(generations=4, level=level) for level in (1, 2, 3)}
    parts = {level: [step.request_part for step in recipe.program.steps] for level, recipe in recipes.items()}
    assert parts[1][-1] == parts[2][-1] == parts[3][-1]
    assert recipes[3].graph.concepts.program.steps[0].request_part == parts[2][0]
    assert len({str(parts[level][-2]) for level in parts}) == 3


@pytest.mark.parametrize(
    ("fields", "per_call"),
    [
        ({"generations": 10}, 5),
        ({"generations": 8}, 4),
        ({"generations": 8, "per_round": 2}, 2),
        ({"generations": 7}, 1),
        ({"generations": 1}, 1),
        ({"generations": 12, "questions": 6}, 6),
        ({"generations": 10, "level": 2}, 1),
        ({"generations": 10, "level": 3, "questions": 2}, 2),
    ],
)
def test_questions_of_a_call_are_dealt_to_slots(fields, per_call):
    recipe = SynthLLM(**fields)
    [question] = [step for step in recipe.program.steps if step.name == "question"]
    assert question.deal and question.most == recipe.per_call == per_call
    assert ("one problem" if per_call == 1 else f"{per_call} problems") in question.prompt
    ordinals = [task.ordinal for task in recipe.tasks]
    assert ordinals == [*range(recipe.generations)]
    answers = [question.answer(ordinal) for ordinal in ordinals]
    assert answers == [slot // per_call for slot in range(recipe.generations)]


@pytest.mark.parametrize("per_round", [1, 2, 4])
@pytest.mark.parametrize(
    ("layout", "like"),
    [
        ("pairs", lambda **fields: Rephrase(web=False, **fields)),
        ("megadoc", lambda **fields: Stitch(web="none", **fields)),
        ("append", lambda **fields: Stitch(web="first", **fields)),
    ],
)
def test_units_are_like_those_of_another_recipe(layout, like, per_round):
    fields = {"generations": 4, "per_round": per_round, "rounds": 7}
    recipe, other, documents = SynthLLM(layout=layout, **fields), like(**fields), np.arange(20)
    assert recipe.unit_layout == other.unit_layout
    assert (recipe.sweeps, recipe.reads_documents) == (other.sweeps, other.reads_documents)
    for sweep in range(recipe.sweeps):
        assert np.array_equal(recipe.slots_of_sweep(sweep, documents, 1), other.slots_of_sweep(sweep, documents, 1))
    for number in range(20):
        assert recipe.order_of_round(number) == other.order_of_round(number)
        assert recipe.last_round_wanted(number) == other.last_round_wanted(number)


def test_of_a_long_document_the_beginning_is_read():
    text = "One sentence. Another one! " * 100
    recipe = SynthLLM(generations=2, document_chars=200)
    [first, second] = recipe.sources(text, [])
    assert first == second == {"document": head(text, 200)}
    found = first["document"]
    assert text.startswith(found) and 150 < len(found) <= 200 and found[-1] in ".!"
    assert recipe.scope("") != SynthLLM(generations=2).scope("")
    assert SynthLLM(generations=2).sources("short", []) == [{"document": "short"}] * 2


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("", 5, ""),
        ("short", 5, "short"),
        ("A b. C d. E f.", 10, "A b. C d."),
        ("line one\nline two", 12, "line one"),
        ("no end here at all", 8, "no end"),
        ("unbroken", 3, "unb"),
        ("ab👩‍👩‍👧", 4, "ab"),
    ],
)
def test_the_beginning_of_a_text_ends_where_something_does(text, length, expected):
    assert head(text, length) == expected


def test_a_recipe_of_levels_is_short_for_one_of_each():
    recipe = SynthLLM(generations=10, levels=LEVELS, writers={"concepts": "small", "answer": "solver"})
    parts = recipe.streams
    assert {end: share for end, (share, _) in parts.items()} == {
        "_1": Fraction(1, 4),
        "_2": Fraction(1, 4),
        "_3": Fraction(1, 2),
    }
    for level, (_, each) in zip((1, 2, 3), parts.values(), strict=True):
        assert each == SynthLLM(generations=10, level=level, writers=recipe.writers) and not each.streams
    writers = [{*each.writer_names} for _, each in parts.values()]
    assert writers == [{"", "solver"}, {"", "small", "solver"}, {"", "solver"}]
    assert parts["_3"][1].graph.concepts.writer_names == ["small"]
    assert [*SynthLLM(generations=5, levels={1: 1, 2: 0}).streams] == ["_1"]


def test_the_graph_of_level_3():
    recipe = SynthLLM(generations=8, level=3, questions=2, per_round=4, editions=(0.5, 1), max_share=0.1)
    graph = recipe.graph
    assert (graph.editions, graph.max_share) == ((Fraction(1, 2), Fraction(1)), Fraction(1, 10))
    assert (graph.walks, graph.chars, graph.min_documents) == (2, 6000, 2)
    assert SynthLLM(generations=8, level=2).graph is None
    assert recipe.identity["editions"] == ("1/2", "1")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"level": 4}, "recipe synthllm: level: has to be 1, 2 or 3"),
        ({"questions": 3}, "questions=3 does not divide per_round=4"),
        ({"questions": 0}, "questions: has to be at least 1"),
        ({"questions": 8, "generations": 128, "per_round": 4}, "questions=8 does not divide per_round=4"),
        ({"questions": 128, "generations": 128}, "step question: n=1, most=128; from 1 to 64"),
        ({"layout": "append", "level": 3}, "layout: append: a walk has no document of its own"),
        ({"layout": "append", "levels": LEVELS}, "layout: append: a walk has no document of its own"),
        ({"styles": {"faq": 1}}, "styles: it has a program of its own"),
        ({"prompt": "About {document}"}, "prompt: that of the styles' steps is taken"),
        ({"max_tokens": 5}, "max_tokens: that of the styles' steps is taken"),
        ({"writers": {"answers": "solver"}}, "writers: answers: 'solver' names the writer of a step"),
        ({"document_chars": 10}, "_chars: has to be at least 200"),
        ({"reference_chars": -1}, "_chars: has to be at least 200"),
        ({"editions": ()}, "editions: shares above 0, each larger"),
        ({"editions": ("1/2", "1/4")}, "editions: shares above 0, each larger"),
        ({"editions": (0, 1)}, "editions: shares above 0, each larger"),
        ({"editions": (2,)}, "editions: 0: 2: from 0 to 1"),
        ({"editions": ("half",)}, "editions: 0: 'half' is not a number"),
        ({"min_documents": 0}, "min_documents: has to be at least 1"),
        ({"max_share": 0}, "max_share is above 0"),
        ({"levels": {}}, "the parts of levels are none = 0, and have to add up to 1"),
        ({"levels": {1: "1/2", 3: "1/3"}}, r"the parts of levels are 1/2 \+ 1/3 = 5/6, and have to add up to 1"),
        ({"levels": {4: 1}}, "levels: 4.*: the name has to be 1, 2 or 3"),
        ({"levels": LEVELS, "level": 2}, "levels: the level is theirs to say"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(ConfigError, match=said) as caught:
        SynthLLM(**{"generations": 4, **fields})
    assert "\n" not in str(caught.value)
