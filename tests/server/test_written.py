"""Gates and recipes over texts that a small model really wrote: `tests/recorded/smollm2/README.md` says which."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from conftest import generate, make_corpus, make_dataset, make_run
from streamdocs import Rephrase, Stitch
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.progress import read_tallies, total
from streamdocs.recipes import Request
from streamdocs_server.gates.gates import Gates, Rejected
from writers import Writes

TESTS = Path(__file__).parents[1]
PROMPT = "Rewrite this text in your own words. Keep every fact, name and number.\n\n{document}\n"
REQUEST = Request(kind="rephrase", template=PROMPT, fields={}, n=1, max_tokens=230)


def refused() -> list[dict]:
    return [json.loads(line) for line in (TESTS / "recorded/smollm2/smollm2_rejected.jsonl").read_text().splitlines()]


def sound() -> dict[str, list[str]]:
    """By document, the texts that ended by themselves."""
    lines = zstandard.decompress((TESTS / "server/gates/smollm2.jsonl.zst").read_bytes()).splitlines()
    found = {each["document"]: each["answers"] for each in map(json.loads, lines)}
    ended = {
        document: [each["text"] for each in answers if each["finish_reason"] == "stop"]
        for document, answers in found.items()
    }
    return {document: texts for document, texts in ended.items() if texts}


@pytest.mark.parametrize("row", refused(), ids=lambda row: row["cause"])
def test_what_it_wrote_badly_is_refused_for_its_cause(row):
    of = dataclasses.replace(REQUEST, fields={"document": row["document"]})
    assert row["licence"] and row["source"]
    assert Gates().check(row["text"], "stop", of) == Rejected(row["cause"])
    # That is about the text, and not about its document: gates that do not look for it have another verdict.
    assert len({each["cause"] for each in refused()}) >= 3


@pytest.mark.parametrize("recipe", [Stitch, Rephrase])
def test_what_it_wrote_is_trained_on_where_gates_accept_it(recipe, tmp_path, store):
    good = {document: texts[0] for document, texts in sound().items()}
    wrote = {row["document"]: row["text"] for row in refused()} | good
    corpus = make_corpus(tmp_path, list(wrote))
    recipe = recipe(generations=1, prompt=PROMPT)
    scope = make_run(corpus, recipe).stream().scope
    engine = Writes(lambda request, _: wrote[request.fields["document"]])
    generate(make_run(corpus, recipe), store, engine=engine, gates=Gates())
    tally = total(read_tallies(store, scope).values())
    assert tally.rejected == Counter(row["cause"] for row in refused())
    assert tally.generations == len(good) >= 20
    with store.read() as snapshot:
        for document in range(len(wrote)):
            key, source = scope.key(document, 0), scope.text(document, 0)
            (stored,) = decode_text(key, snapshot.get("texts", key.digest)).texts
            assert (stored is not None) == (source in good)
            assert stored is None or stored in good[source]  # of some the end was taken off
    read = make_dataset(corpus, store, recipe=recipe, max_seq_len=512)
    samples = [read[position] for position in range(200)]
    tokens = [token for each in samples if each["synthetic"] for token in each["input_ids"].tolist()]
    said = read.corpus.tokenizer.decode(tokens)
    assert sum(text[:60] in said for text in good.values()) > 0.8 * len(good)
    assert not any(row["text"][:200] in said for row in refused() if row["text"][:200] not in row["document"])
