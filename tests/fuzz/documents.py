"""Documents from the open web, through all that becomes of them: corpus, prompts, gates, records, windows, batches."""

import asyncio
import bz2
import functools
import gzip
import io
import json
import lzma
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from anyio import CapacityLimiter
from hypothesis import strategies as st

from conftest import OPEN_GATES, generate, make_dataset, make_run
from fuzz.strategies import damaged, texts, wild_texts
from fuzz.target import folder, target
from streamdocs import Rephrase, Stitch, Stretch
from streamdocs._base.console import plain_console, printable
from streamdocs.commands.inspection import segments_table
from streamdocs.corpus import CorpusTokenizer, document_digest, prepare_corpus
from streamdocs.corpus.columns.values import NoValue
from streamdocs.corpus.inputs import EVERY_STRING, find_inputs, missing
from streamdocs.corpus.sources import BadRow, Document, read_file
from streamdocs.errors import CorpusError, EngineError
from streamdocs.generations.steps.asking import requests
from streamdocs.recipes.prompts import fill_prompt, load_prompt
from streamdocs.store import LmdbStore
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.gates.overlap import LEAST_WORDS, Protected
from streamdocs_server.gates.questions import BANDS, bands
from streamdocs_server.gates.words import Words

RECIPES = [Rephrase(generations=2), Stitch(generations=2), Stretch(generations=3, per_round=1)]


@functools.cache
def tokenizer() -> str:
    made = folder()
    CorpusTokenizer.train(["the river rises in the north and runs past old stone towns " * 20], 300).save(made)
    return str(made)


def prepared(documents: list[str]):
    """A corpus of the texts, in a folder of its own."""
    made = folder()
    (made / "in.jsonl").write_bytes(b"".join(json.dumps({"text": text}).encode() + b"\n" for text in documents))
    report = prepare_corpus(
        [str(made / "in.jsonl")], made / "corpus", tokenizer=tokenizer(), max_bad=1000, progress=False
    )
    return made, report


@target(st.tuples(st.lists(wild_texts, min_size=1, max_size=6), st.sampled_from(RECIPES)), share=0.2)
def whole_path(value) -> None:
    documents, recipe = [*value[0], "The river rises in the north. It runs past old towns to the sea."], value[1]
    made, report = prepared(documents)
    expected = {text for text in documents if text and not text.isspace() and is_unicode(text)}
    assert report["rows"] == len(documents) and report["duplicates"] + report["bad"].get("empty", 0) <= len(documents)
    assert all(1 <= bad["row"] <= len(documents) and bad["cause"] for bad in report["bad_examples"])
    run = make_run(made / "corpus", recipe)
    corpus = run.corpus
    assert {corpus.text(document) for document in range(len(corpus.documents))} == expected
    for document in range(len(corpus.documents)):
        assert corpus.tokenizer.decode(corpus.tokens(document)) == corpus.text(document)
        assert corpus.document_digest(document) == document_digest(corpus.text(document))
        ends = [each for each in (corpus.tokenizer.bos, corpus.tokenizer.eos) if each is not None]
        assert not np.isin(corpus.tokens(document), ends).any()
        for round in range(recipe.total_rounds):
            for request, _ in requests(run.stream().scope, document, round):
                check_prompt(request, corpus.text(document))
    store = LmdbStore(made / "store")
    generate(run, store, gates=OPEN_GATES)
    dataset = make_dataset(made / "corpus", store, recipe=recipe, max_seq_len=16, window=8)
    read = [dataset[position]["input_ids"].numpy() for position in range(16)]
    again = make_dataset(made / "corpus", LmdbStore(made / "store"), recipe=recipe, max_seq_len=16, window=8)
    for position, tokens in enumerate(read):
        np.testing.assert_array_equal(tokens, again[position]["input_ids"].numpy())
        assert sum(segment.stop - segment.start for segment in dataset.explain(position)) == 16
        plain_console(quiet=True).print(segments_table(dataset, position, dataset.explain(position)))


def is_unicode(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def check_prompt(request, text: str) -> None:
    """The prompt is the instructions and the text, to the letter, and nothing in the text was looked at."""
    assert "".join(request.fields.values()) == text
    assert request.prompt == spelled_out(request.template, request.fields)
    body = OpenAIEndpoint(url="http://x", model="m").body(request, 1, 0)
    assert json.loads(json.dumps(body))["messages"][-1]["content"] == request.prompt


def spelled_out(template: str, fields: dict[str, str]) -> str:
    """Filled, by finding each placeholder in the template before anything is put into it."""
    if not fields:
        return template
    name, *names = sorted(fields, key=lambda name: template.index("{" + name + "}"))
    head, _, tail = template.partition("{" + name + "}")
    return head + fields[name] + spelled_out(tail, {each: fields[each] for each in names})


@target(st.tuples(wild_texts, wild_texts))
def prompt(value) -> None:
    fields = dict(zip(("before", "after"), value, strict=True))
    filled = fill_prompt(load_prompt("thought"), fields)
    assert filled == spelled_out(load_prompt("thought"), fields)
    assert all(c.isprintable() or c in "\n\t" for c in printable(filled))


@target(st.tuples(st.lists(wild_texts, max_size=4), wild_texts, st.integers(8, 20)))
def kept_apart(value) -> None:
    """A text is found in itself wherever it stands, and whatever is found is in it; a question has all its bands."""
    others, text, most = value
    words = Words(text)
    protected = Protected([*others, text], most)
    assert Protected([], most).overlap(words) is None
    least = LEAST_WORDS * (2 if words.is_unspaced else 1)
    assert len(words.listed) < least or protected.overlap(Words(f"So: {text}."))
    assert (protected.overlap(words) or "") in " ".join(words.listed)
    assert [len(each) for each in bands(text)] == [8] * BANDS and bands(text) == bands(f" {text}\n")


@target(st.tuples(wild_texts, st.integers(1, 400), st.integers(60, 400), st.sampled_from(RECIPES)), share=0.5)
def longer_than_the_context(value) -> None:
    """What is sent fits and is part of the document, or it stops because the instructions leave no room for one."""
    text, times, context, recipe = value
    document = text * times
    places = [len(document) * (cut + 1) // (recipe.generations + 1) for cut in range(recipe.round_size)]

    async def fit() -> None:
        section = GeneratorSection(engine="openai", endpoint="http://there")
        endpoint = OpenAIEndpoint(url=section.endpoint[0], model="m")

        async def count(request) -> int:
            return -(-len(request.prompt) // 4)

        endpoint.count = count
        pool = Pool([endpoint], slots=CapacityLimiter(1), context=context + recipe.max_tokens)
        pool.members[0].take_in()
        for request in recipe.requests(document, places, 0):
            try:
                fitted = await pool.fit(request)
            except EngineError:
                assert await count(replace(request, fields=dict.fromkeys(request.fields, ""))) + 32 > context
                continue
            for name, part in fitted.fields.items():
                assert part in request.fields[name]
            assert await count(fitted) <= context
            assert any(fitted.fields.values()) or not document
        await endpoint.close()

    asyncio.run(fit())


PLAIN = ("x.jsonl", "x.json", "x.txt")
PACKERS = {".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@st.composite
def sources(draw) -> tuple[str, bytes]:
    """A file of any kind, whole or damaged."""
    documents = draw(st.lists(texts, min_size=1, max_size=4))
    kind = draw(st.sampled_from(["x.parquet", "x.arrow", "x.feather", *PLAIN, *map("".join, product(PLAIN, PACKERS))]))
    table = pa.table({"text": documents, "other": list(range(len(documents)))})
    if kind == "x.parquet":
        file = io.BytesIO()
        pq.write_table(table, file)
        whole = file.getvalue()
    elif kind in ("x.arrow", "x.feather"):
        file = pa.BufferOutputStream()
        with (pa.ipc.new_stream if kind == "x.arrow" else pa.ipc.new_file)(file, table.schema) as writer:
            writer.write_table(table)
        whole = file.getvalue().to_pybytes()
    else:
        lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in documents)
        plain = lines if "json" in kind else documents[0].encode()
        whole = PACKERS.get(Path(kind).suffix, bytes)(plain)
    return kind, draw(st.one_of(damaged(whole), st.just(whole), st.binary(max_size=80)))


@functools.cache
def sources_folder():
    return folder()


@target(sources(), share=0.5)
def source(value) -> None:
    """Every row is a document that can be stored, or a row that is bad for a reason and has a number."""
    kind, data = value
    path = sources_folder() / kind
    path.write_bytes(data)
    for field in ("text", EVERY_STRING):
        for number, row in enumerate(read_file(str(path), field, ("text", "id"))):
            assert row.row >= 1 and number < 1_000_000
            assert not isinstance(row, Document) or all(isinstance(each, float | str | NoValue) for each in row.kept)
            assert (row.text.strip() and row.text.encode()) if isinstance(row, Document) else row.cause


NAMES = [
    "a.jsonl",
    "B.JSONL.GZ",
    "c.json",
    "README.md",
    "d.txt",
    "e.csv",
    "f",
    ".g.jsonl",
    "h.parquet",
    "i.part",
    "\udcff.md",
]
FOLDERS = ["", "data", "data/deep", ".hidden", "\udcfe"]
CONTENTS = [
    b"",
    b'{"text": "x"}\n',
    b'{"rows": 1}',
    b"[]",
    b"version https://git-lfs.github.com/spec/v1\n",
    b"\xff\x00",
]
LINKS = ["..", ".", "nowhere", "data", "data/a.jsonl", "/proc/self/mem"]
trees = st.dictionaries(
    st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)),
    st.one_of(st.sampled_from(CONTENTS), st.sampled_from(LINKS)),
    min_size=1,
    max_size=12,
)


@target(trees)
def folder_of_inputs(tree) -> None:
    """Every file of a folder is read or left out for a reason, once, and what is read gives rows of its name."""
    root = sources_folder() / "tree"
    shutil.rmtree(root, ignore_errors=True)
    for (where, name), contents in tree.items():
        path = root / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(contents) if isinstance(contents, str) else path.write_bytes(contents)
    try:
        inputs = find_inputs([str(root)])
    except CorpusError as error:
        assert "has no files of a kind that can be read" in str(error)
        return
    told = [*inputs.files, *(file for files in inputs.left_out.values() for file in files)]
    assert len(told) == len(set(told))
    for where, name in tree:
        path = root / where / name
        hidden = any(part.startswith(".") for part in (*Path(where).parts, name))
        assert hidden or str(path) in told or (path.is_symlink() and path.is_dir())
    for file in inputs.files:
        rows = list(read_file(file, "text"))
        assert all(row.file == file and row.row >= 1 for row in rows)
        assert not missing(file) or (len(rows) == 1 and isinstance(rows[0], BadRow))
