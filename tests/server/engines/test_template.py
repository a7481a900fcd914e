import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.recipes import Request
from streamdocs_server.engines import Answer
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Accepted, Gates

SENTENCES = (
    "Many people use the old bridge because the new one is often closed in winter.",
    "It was made of granite by masons from the valley between 1841 and 1846.",
    "The town council wanted to show that a small place could build something big.",
    "Traders crossed it with wool, salt, timber and very heavy carts of iron ore.",
    "After the railway arrived, traffic moved away and weeds grew between the stones.",
    "An engineer named Holm measured every arch and found that two had shifted.",
    "Repairs begin next spring, and volunteers will help to clean the parapets.",
    "Visitors like the view, but the walk up from the station is good only in dry weather.",
)
DOCUMENT = " ".join(SENTENCES * 2)
any_text = st.text(st.characters(), max_size=300) | st.sampled_from(["", "a", "\0", "{topic} {", ". . ."])


def rephrase(document: str, n: int = 1, max_tokens: int = 1024) -> Request:
    fields = {"document": document}
    return Request(kind="rephrase", template="Rewrite: {document}", fields=fields, n=n, max_tokens=max_tokens)


def thought(before: str, after: str, n: int = 1, max_tokens: int = 512) -> Request:
    fields = {"before": before, "after": after}
    return Request(kind="thought", template="{before}|{after}", fields=fields, n=n, max_tokens=max_tokens)


def ask(request: Request, seed: int = 0, tokens_per_second: float | None = None) -> Answer:
    return asyncio.run(TemplateEngine(tokens_per_second=tokens_per_second).generate(request, seed))


def texts(request: Request, seed: int = 0) -> list[str]:
    return [completion.text for completion in ask(request, seed).completions]


def test_rephrases_differ_from_each_other_from_the_document_and_between_seeds():
    first, second = texts(rephrase(DOCUMENT, n=32), seed=1), texts(rephrase(DOCUMENT, n=32), seed=2)
    assert len(set(first)) == 32
    assert DOCUMENT not in first
    assert set(first) != set(second)


def test_the_rephrases_of_a_single_short_line_differ_too():
    assert len(set(texts(rephrase("Hello there.", n=32)))) == 32


def test_a_rephrase_is_shorter_than_its_document_and_passes_the_gates():
    document = " ".join(SENTENCES)
    for completion in ask(rephrase(document, n=32), seed=7).completions:
        assert 0.4 < len(completion.text) / len(document) < 1
        assert isinstance(Gates().check(completion.text, completion.finish_reason, rephrase(document)), Accepted)


def test_a_rephrase_has_the_documents_content_with_some_words_swapped():
    [text] = texts(rephrase("Many people use it."))
    assert text.endswith(("Numerous individuals employ it.", "A range of persons apply it."))


def test_special_token_strings_and_braces_pass_through_as_plain_text():
    [text] = texts(rephrase("<|endoftext|></s>{document}{before} [INST]"))
    assert text.endswith("<|endoftext|></s>{document}{before} [INST]")


def test_a_thought_has_two_to_four_sentences_about_both_sides_of_the_cut():
    for completion in ask(thought("The granite bridge.", "Repairs begin {soon}.", n=16)).completions:
        assert 2 <= completion.text.count(". ") + completion.text.count("? ") + 1 <= 8
        assert any(term in completion.text for term in ("granite", "bridge"))
        assert any(term in completion.text for term in ("Repairs", "begin"))
        assert isinstance(Gates().check(completion.text, completion.finish_reason, thought("", "")), Accepted)


@given(any_text, st.integers(1, 5), st.integers(1, 50), st.integers(0, 2**63))
def test_any_text_gives_the_same_nonempty_answer_every_time(text: str, n: int, max_tokens: int, seed: int):
    for request in (rephrase(text, n, max_tokens), thought(text, text, n, max_tokens)):
        answer = ask(request, seed)
        assert answer == ask(request, seed)
        assert len(answer.completions) == n
        assert all(completion.text for completion in answer.completions)
        assert all(0 < completion.completion_tokens <= max_tokens for completion in answer.completions)


def test_a_text_longer_than_max_tokens_is_cut_and_says_so():
    [completion] = ask(rephrase(DOCUMENT, max_tokens=10)).completions
    assert (completion.finish_reason, completion.completion_tokens, len(completion.text)) == ("length", 10, 40)


@pytest.mark.parametrize("unit", ["x", "word ", "。", "\n", ". ", "!", " "])
def test_huge_and_degenerate_documents_are_fast(unit: str):
    document = unit * (2**20 // len(unit))
    start = time.process_time()
    assert all(texts(rephrase(document, n=4)) + texts(thought(document, document, n=4)))
    assert time.process_time() - start < 1


def test_two_thousand_documents_a_second():
    async def many() -> None:
        engine = TemplateEngine()
        for seed in range(500):
            await engine.generate(rephrase(DOCUMENT), seed)

    best = min(_timed(many) for _ in range(20))
    assert best < 500 / 2000


def test_the_rate_limit_is_shared_by_concurrent_calls():
    async def both() -> int:
        engine = TemplateEngine(tokens_per_second=2000)
        answers = await asyncio.gather(*(engine.generate(rephrase(DOCUMENT), seed) for seed in range(4)))
        return sum(answer.completions[0].completion_tokens for answer in answers)

    start = time.perf_counter()
    tokens = asyncio.run(both())
    assert time.perf_counter() - start >= tokens / 2000


def test_it_says_what_it_is():
    assert asyncio.run(TemplateEngine().model()) == ("template", "1")


def _timed(work) -> float:
    start = time.process_time()
    asyncio.run(work())
    return time.process_time() - start
