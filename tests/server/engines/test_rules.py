"""What the engine without a model answers to the steps of programs."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import generate, make_corpus, make_run
from fuzz.strategies import wild_texts
from streamdocs import SynthLLM
from streamdocs.generations.progress import read_tallies, total
from streamdocs.generations.steps.rows import rows_of
from streamdocs.recipes import Request
from streamdocs.recipes.programs.concepts import Concepts
from streamdocs.recipes.programs.parsing import parse
from streamdocs.recipes.programs.program import Program, Step
from streamdocs.recipes.programs.styles import STYLES
from streamdocs.store import LmdbStore
from streamdocs_server.engines import Completion
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Gates, Rejected
from streamdocs_server.gates.steps import gates_of, judge_step

#: Paragraphs of ordinary English, each of some hundred characters.
PAGE = (Path(__file__).parents[3] / "docs" / "decisions.md").read_text()
DOCUMENTS = [each for each in PAGE.split("\n\n") if 500 < len(each) < 1000][:20]
BRIDGE = (
    "The bridge was built by masons from the valley between 1841 and 1846.\n\n"
    "An engineer called Holm measured every arch, and two of them had shifted. Repairs are due next spring."
)


def ask(step: Step, n: int = 1, seed: int = 0, **fields: str) -> list[Completion]:
    request = Request(kind=step.kind, template=step.prompt, fields=fields, n=n, max_tokens=step.max_tokens, step=step)
    answer = asyncio.run(TemplateEngine().generate(request, seed))
    assert answer == asyncio.run(TemplateEngine().generate(request, seed))
    return list(answer.completions)


def texts(step: Step, n: int = 1, seed: int = 0, document: str = BRIDGE) -> list[str]:
    return [completion.text for completion in ask(step, n, seed, document=document)]


def step(parser: str, name: str = "made", **others) -> Step:
    return Step(name=name, prompt="{document}", parser=parser, **others)


def written(program: Program, document: str, seed: int, causes: Counter) -> str:
    """The training text of a document by a program, whose verdicts and rejections are counted."""
    rows = [{"document": document, "previous": "", "verdict": ""}]
    for each in program.steps:
        after = []
        for row in rows:
            fields = {name: row[name] for name in each.inputs}
            request = Request(
                kind=each.kind, template=each.prompt, fields=fields, n=1, max_tokens=each.max_tokens, step=each
            )
            [completion] = ask(each, 1, seed, **fields)
            given = judge_step(gates_of(Gates(), each), completion.text, completion.finish_reason, request)
            causes[given.cause if isinstance(given, Rejected) else "accepted"] += 1
            if not isinstance(given, Rejected):
                after += [{**row, **made} for made in rows_of(each, given)]
        rows = after
    return program.text(rows)


@pytest.mark.parametrize("name", STYLES)
def test_ordinary_documents_pass_the_gates_in_every_style(name: str):
    causes, program = Counter(), STYLES[name]
    made = [written(program, document, seed, causes) for document in DOCUMENTS for seed in range(2)]
    assert causes["accepted"] >= 0.9 * causes.total(), causes
    assert len({*made}) >= 0.9 * len(made)
    assert sum(len(text) >= program.least for text in made) >= 0.8 * len(made)


@pytest.mark.parametrize("recipe", [SynthLLM(generations=5), SynthLLM(generations=4, level=2)], ids=["one", "two"])
def test_questions_and_answers_pass_the_gates(recipe, tmp_path):
    run, store = make_run(make_corpus(tmp_path, DOCUMENTS), recipe), LmdbStore(tmp_path / "store")
    generate(run, store, gates=Gates())
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.generations >= 0.95 * len(DOCUMENTS) * recipe.generations, held


def test_concepts_are_terms_and_what_stands_in_a_sentence_with_them():
    page = "The Bridge carries water. Every Bridge needs masons. Masons build a Bridge of granite. Water runs below."
    [text] = texts(step("concepts"), document=page)
    topics = dict(Concepts.read(parse(step("concepts"), text).outputs[0]["made"]).topics)
    assert next(iter(topics)) == "Bridge"
    assert {name.lower() for name in topics["Bridge"]} >= {"water", "masons", "granite"}


def test_a_dealt_list_has_as_many_different_questions_as_slots():
    dealt = step("list", most=5, deal=True)
    for text in texts(dealt, n=20):
        asked = [output["made"] for output in parse(dealt, text).outputs]
        assert len({*asked}) == 5
    [text] = [each.text for each in ask(dealt, document=BRIDGE, chosen="masonry\ntoll roads")]
    assert all("masonry" in output["made"] and "toll roads" in output["made"] for output in parse(dealt, text).outputs)


RULES = ["template-cloze", "template-outline", "template-facts"]
LANGUAGES = {
    "Chinese": (
        "这座古老的花岗岩桥由山谷里的石匠于1841年建成。它共有七个拱，每个宽十二米。镇议会向每辆马车收取两便士的通行费。"
        "铁路在1874年通车以后，商人便不再经过这里。一位名叫霍尔姆的工程师测量了所有的拱，发现其中两个已经移动。"
        "明年春天将开始修理，工人会用石灰砂浆填满缝隙。水泥会把水留在墙里，冬天的冰冻会造成更大的损害。"
    ),
    "Russian": (
        "Старый гранитный мост построили каменщики из долины между 1841 и 1846 годами. У него семь арок шириной по "
        "двенадцать метров. Городской совет брал с каждой повозки пошлину в два пенни. После прихода железной дороги "
        "в 1874 году торговцы перестали ездить этим путём. Инженер по имени Хольм измерил все пролёты и нашёл, что два "
        "из них сдвинулись. Ремонт начнётся будущей весной: швы заполнят известковым раствором."
    ),
    "Arabic": (
        "بنى البناؤون من الوادي الجسر القديم من حجر الغرانيت بين عامي 1841 و1846. له سبعة أقواس عرض كل منها "
        "اثنا عشر مترا. فرض مجلس المدينة رسما قدره بنسان على كل عربة. بعد وصول السكة الحديدية عام 1874 توقف "
        "التجار عن المرور من هنا. قاس مهندس اسمه هولم جميع الأقواس فوجد أن اثنين منها قد تحركا. ستبدأ أعمال "
        "الإصلاح في الربيع القادم."
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_reach_to_the_end_of_a_chunk(name: str):
    document = "\n\n".join(DOCUMENTS)[: STYLES[name].chunk]
    assert len(document) == STYLES[name].chunk
    made = texts(STYLES[name].steps[0], n=10, document=document)
    assert any(document[at : at + 25] in text for text in made for at in range(len(document) - 600, len(document) - 25))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_rules_need_no_language(name: str, language: str):
    causes = Counter()
    made = {written(STYLES[name], LANGUAGES[language], seed, causes) for seed in range(10)}
    assert set(causes) == {"accepted"} and len(made) > 5
    assert all(not any(letter in text for letter in "abcdefg") for text in made)


def test_a_list_has_from_one_to_as_many_questions_as_go_on():
    listed = step("list", most=5)
    made = [parse(listed, text).outputs for text in texts(listed, n=200)]
    assert {len(each) for each in made} == {1, 2, 3, 4, 5}
    assert all(len({*map(str, each)}) == len(each) for each in made)
    assert all("?" in output["made"] for each in made for output in each)


def test_a_record_has_all_its_tags_also_in_little_room():
    for max_tokens in (60, 1000):
        record = step("record", tags=("title", "body"), max_tokens=max_tokens)
        for completion in ask(record, n=20, document=BRIDGE):
            assert completion.finish_reason == "stop"
            [output] = parse(record, completion.text).outputs
            assert set(output) == {"title", "body"} and output["title"] != output["body"]


def test_verdicts_mostly_accept_and_send_back_only_where_they_can():
    draft = step("text", name="draft")
    [_, judge] = Program(steps=(draft, step("verdict", name="fit", back="draft"))).steps
    counts = Counter(parse(judge, text).verdict for text in texts(judge, n=400))
    assert set(counts) == {"accept", "revise", "reject"}
    assert counts["accept"] > 280 and 80 > counts["revise"] > counts["reject"] > 10
    alone = Counter(parse(step("verdict"), text).verdict for text in texts(step("verdict"), n=400))
    assert set(alone) == {"accept", "reject"}
    assert all(parse(judge, text).outputs[0]["fit"] for text in texts(judge, n=50) if "accept" not in text)


def test_a_cloze_leaves_out_a_term_and_gives_it():
    rule = STYLES["template-cloze"].steps[0]
    for text in texts(rule, n=50):
        for pair in text.split("\n\n"):
            sentence, _, key = pair.partition("\n")
            gap = next(gap for gap in ("_____", "( ? )", "[...]") if gap in sentence)
            assert sentence.replace(gap, key.strip("->()=* ")) in BRIDGE


def test_an_outline_has_a_heading_for_each_part():
    for text in texts(STYLES["template-outline"].steps[0], n=20):
        first, second = text.split("\n\n")
        assert first.startswith("1. ") and second.startswith("2. ")
        assert "The bridge was built" in first and any(name in second for name in ("Holm", "Repairs"))


def test_facts_are_sentences_with_a_number_or_a_name():
    for text in texts(STYLES["template-facts"].steps[0], n=50):
        lines = [line[2:] for line in text.splitlines()]
        assert {*lines} <= {
            "The bridge was built by masons from the valley between 1841 and 1846.",
            "An engineer called Holm measured every arch, and two of them had shifted.",
        } or lines == ["Repairs are due next spring."]


def test_pairs_are_questions_with_sentences_of_the_document():
    for text in texts(STYLES["append"].steps[0], n=20):
        for pair in text.split("\n\n"):
            question, answer = pair.split("\n")
            assert question.startswith("Question: ") and question.endswith("?")
            assert answer.removeprefix("Answer: ") in BRIDGE


STEPS = [
    *{each.name: each for program in STYLES.values() for each in program.steps}.values(),
    *SynthLLM(generations=5, level=2).program.steps[:2],
    step("list", most=64, max_tokens=3),
    step("record", tags=("a", "b", "c"), max_tokens=3),
]


@given(wild_texts, st.sampled_from(STEPS), st.integers(0, 2**63))
@settings(deadline=None)
def test_any_document_gives_the_same_nonempty_answer_every_time(text: str, each: Step, seed: int):
    for completion in ask(each, 2, seed, document=text, question="", draft="", critique="", text=text):
        assert completion.text and 0 < completion.completion_tokens <= each.max_tokens


@pytest.mark.parametrize("unit", ["x", "word ", "。", "\n", ". ", "Ab 1. ", "\n \n"])
def test_huge_and_degenerate_documents_are_fast(unit: str):
    document = unit * (2**20 // len(unit))
    start = time.process_time()
    for each in STEPS:
        ask(each, 2, document=document)
    assert time.process_time() - start < 4
