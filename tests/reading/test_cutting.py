"""Thoughts stand between words or characters, in tokens where they stand in prompts."""

import numpy as np
import pytest

from conftest import make_corpus, make_run, make_texts
from streamdocs import Stretch
from streamdocs.generations.steps.asking import requests
from streamdocs.recipes.layout import Part
from streamdocs.schedule.packing import Unit, Units

ROW = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨"
TEXTS = {
    "words": make_texts(30, most_words=40),
    "long words": ["Internationalization of institutionalization " * (n + 1) for n in range(8)],
    "no spaces": [ROW[n:] * 3 + "。" for n in range(30)],
    "emoji": ["😀🚀é" * (n + 2) + "the cat" * (n % 3) for n in range(20)],
    "one character": ["😀", "a", " a", "a "],
}


@pytest.mark.parametrize("cut_at", ["word", "token"])
@pytest.mark.parametrize("kind", TEXTS)
def test_prompts_and_tokens_are_cut_alike(tmp_path, kind, cut_at):
    corpus = make_corpus(tmp_path, TEXTS[kind], train_tokenizer=270)
    run = make_run(corpus, Stretch(generations=3, cut_at=cut_at))
    decode = run.corpus.tokenizer.decode
    documents = np.arange(len(run.corpus.documents))
    units = Units.of(Unit(document, tuple((0, number, 1) for number in range(3))) for document in documents.tolist())
    pieces = run.stream().packer.pieces(units, run.corpus.tokens_per_document)
    broken = 0
    for document in documents.tolist():
        tokens, text = run.corpus.tokens(document), run.corpus.text(document)
        here = (pieces.document == document) & np.isin(pieces.part, [Part.DOCUMENT_HEAD, Part.DOCUMENT_NEXT])
        starts = set(pieces.start[here].tolist()) | {len(tokens)}
        for place, (request, _) in enumerate(requests(run.stream().scope, document, 0)):
            before, after = request.fields["before"], request.fields["after"]
            assert before + after == text
            if cut_at == "token":
                broken += decode(tokens[: len(tokens) * (place + 1) // 4]) != before
                continue
            (cut,) = (start for start in starts if decode(tokens[:start]) == before)
            assert decode(tokens[cut:]) == after
            assert kind != "words" or before[-1].isspace() or after[0].isspace()
    assert (broken > 0) == (cut_at == "token" and kind == "no spaces")
