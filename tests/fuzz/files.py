"""Files that are read at the start: indexes of a corpus, and run files."""

import functools
import io
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import strategies as st
from pydantic import ValidationError

from conftest import make_corpus, make_texts
from fuzz.strategies import changed, damaged, json_values, to_json
from fuzz.target import folder, folder_of, little_memory, target
from streamdocs._base.hashing import fingerprint
from streamdocs.config import RunFile
from streamdocs.corpus import Where
from streamdocs.corpus.columns.file import ColumnWriter, file_digest
from streamdocs.corpus.columns.selection import select
from streamdocs.corpus.files import DOCUMENTS_FILE, SHARDS_FILE, info, load_index, save_index, split_digest
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError, CorpusError
from streamdocs.recipes.keys import Generator


@functools.cache
def small_corpus():
    made = folder()
    return make_corpus(made, make_texts(12, most_words=10))


@functools.cache
def index() -> dict:
    return load_index(small_corpus())


@functools.cache
def shards() -> dict:
    return json.loads((small_corpus() / "train" / SHARDS_FILE).read_bytes())


def copy_of_corpus():
    out = folder_of("corpus") / "corpus"
    shutil.rmtree(out, ignore_errors=True)
    return shutil.copytree(small_corpus(), out)


def read_all(corpus) -> None:
    """Whatever may be read of a corpus; documented errors alone."""
    outside = folder_of("corpus") / "x"
    outside.write_bytes(b"never read")
    try:
        with little_memory():
            info(corpus)
            opened = Corpus(corpus)
            opened.tokenizer.encode_batch(["x"])
            for document in range(min(len(opened.documents), 20)):
                opened.tokens(document)
                opened.text(document)
            assert all(opened._fetch(f"train/{file}").parent == corpus / "train" for file in opened._shard_files)
    except CorpusError:
        return


@target(st.deferred(lambda: st.one_of(changed(index()), json_values)), share=0.5)
def corpus_index(value) -> None:
    corpus = copy_of_corpus()
    if isinstance(value, dict):
        save_index(corpus, value)  # with the checksum that it should have
    else:
        (corpus / "corpus.json").write_bytes(to_json(value))
    read_all(corpus)


@target(
    st.sampled_from([b"", b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b"1" * 10_000, b"\x00", b'{"format": 2}'])
)
def corpus_index_bytes(data: bytes) -> None:
    for file in ("corpus.json", f"train/{SHARDS_FILE}", "tokenizer.json"):
        corpus = copy_of_corpus()
        (corpus / file).write_bytes(data)
        read_all(corpus)


def name_new_digest(corpus) -> None:
    """As whoever forges an index would."""
    made = {**index(), "splits": {"train": dict(index()["splits"]["train"])}}
    made["splits"]["train"]["digest"] = split_digest(corpus / "train", made["tokenizer"]["digest"])
    save_index(corpus, made)


@target(st.deferred(lambda: changed(shards())), share=0.5)
def shard_index(value) -> None:
    corpus = copy_of_corpus()
    (corpus / "train" / SHARDS_FILE).write_bytes(to_json(value))
    name_new_digest(corpus)
    read_all(corpus)


def npy(*arrays, archive: bool = False) -> bytes:
    file = io.BytesIO()
    np.savez(file, *arrays) if archive else np.save(file, arrays[0])
    return file.getvalue()


@functools.cache
def documents() -> bytes:
    return (small_corpus() / "train" / DOCUMENTS_FILE).read_bytes()


@target(
    st.one_of(
        st.deferred(lambda: damaged(documents())),
        st.binary(min_size=1, max_size=100),
        st.sampled_from(
            [npy(np.arange(9)), npy(np.zeros((3, 3))), npy(np.arange(3), archive=True), npy(np.array(5)), b"\x93NUMPY"]
        ),
    ),
    share=0.5,
)
def documents_index(data: bytes) -> None:
    corpus = copy_of_corpus()
    (corpus / "train" / DOCUMENTS_FILE).write_bytes(data)
    name_new_digest(corpus)
    read_all(corpus)


@functools.cache
def columns() -> tuple[Path, dict]:
    """The folder of a split with a column of each form, and its section of corpus.json."""
    split = folder()
    (split / "columns").mkdir()
    section = {"documents": 40, "columns": {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamdocs.corpus.columns.file.MOST_DISTINCT", 5)
        patch.setattr("streamdocs.corpus.columns.file.BATCH_ROWS", 16)
        for name, kind, values in (
            ("score", "number", [n / 2 for n in range(39)]),
            ("language", "string", ["en", "de", "é"] * 13),
            ("url", "string", [f"https://x/{n}" for n in range(39)]),
        ):
            writer = ColumnWriter(split / "columns" / name)
            for value in [None, *values]:
                writer.write(value)
            section["columns"][name] = writer.finish(kind)
    return split, section


@target(
    st.sampled_from(["score", "language", "url"]).flatmap(
        lambda name: st.tuples(
            st.just(name), st.deferred(lambda: damaged((columns()[0] / "columns" / name).read_bytes()))
        )
    )
)
def column(value) -> None:
    """A column's file that says something else, with the digest that it should have."""
    name, data = value
    split, section = columns()
    path = folder_of("column") / name
    path.write_bytes(data)
    forged = {**section["columns"][name], "digest": file_digest(path) if data else "0" * 32}
    where = Where.model_validate({name: {"none_of": -1 if name == "score" else "x"}})
    try:
        with little_memory():
            found = select(split, {**section, "columns": {name: forged}}, where, lambda _: path)
    except (CorpusError, ConfigError):
        return
    assert len(found) and (np.diff(found) > 0).all() and found[0] >= 0 and found[-1] < 40


WHERE = {"quality": {"min": 3, "max": 4.5}, "language": ["en", "de"], "url": {"none_of": "x"}, "good": True}


@target(st.one_of(changed(WHERE), json_values))
def conditions(value) -> None:
    try:
        where = Where.model_validate(value)
    except ValidationError:
        return
    assert fingerprint(Where.model_validate(where.identity).identity) == fingerprint(where.identity)
    assert all(str(each) and each.kind in ("number", "string") for each in where.root.values())


RUN = {
    "corpus": "corpus",
    "remote": None,
    "store": "store",
    "recipe": {"name": "stretch", "generations": 4, "per_round": 2, "rounds": 4},
    "generator": {
        "engine": "openai",
        "endpoint": ["http://a"],
        "temperature": 0.7,
        "api_key_env": "KEY",
        "context": 100,
    },
    "mix": {
        "synthetic_fraction": "3/4",
        "max_seq_len": 64,
        "window": 8,
        "when_behind": "wait",
        "shuffle_seed": 1,
        "name": "x",
    },
    "server": {"gates": {"min_ratio": 0.1}, "monitor_host": "::1", "monitor_token_env": "TOKEN", "drain": 1.0},
}


def aliases(first: str, each: str) -> str:
    """Nine lines of which each says the one before nine times."""
    names = "abcdefghij"
    lines = [each.format(name, ", ".join([f"*{before}"] * 9)) for before, name in itertools.pairwise(names)]
    return "\n".join([first, *lines, ""])


YAML_BOMBS = [
    aliases("a: &a [x, x, x, x, x, x, x, x, x]", "{0}: &{0} [{1}]"),
    aliases("a: &a {x: 1, y: 2}", "{0}: &{0} {{<<: [{1}]}}"),
    "[" * 50_000,
    "{a: " * 50_000,
    "- " * 50_000,
    "a: 2001-13-45",
    "a: !!int x",
    "a: !!float x",
    "a: !!timestamp x",
    "a: !!bool x",
    "a: !!binary é",
    "!!python/object/apply:os.system [false]",
    "a: !!python/name:os.system",
    "? {a: 1}\n: 2",
    "<<: 1",
    "a: " + "9" * 10_000,
    "\x00",
    "a: *b",
    "&a [*a]",
    "mix: {synthetic_fraction: 1e999999999}",
    "a: 0x",
    "a: 1:2:3:4",
    "%YAML 9.9\n---\na",
    "--- a\n--- b",
    "\ufeff",
    "=",
    "a: =",
    "k: !<x> y",
    "a: 1\na: 1",
    "mix: {}",
    "store: $NOWHERE/~",
    "store: ~nobody-of-this-name",
    "store: $",
]


@target(
    st.one_of(
        changed(RUN).map(lambda value: yaml.safe_dump(value).encode()),
        damaged(yaml.safe_dump(RUN).encode()),
        st.sampled_from(YAML_BOMBS).map(str.encode),
        st.sampled_from(YAML_BOMBS).map(lambda bomb: (yaml.safe_dump(RUN) + bomb).encode("utf-8", "surrogatepass")),
        st.binary(max_size=60),
    )
)
def run_file(data: bytes) -> None:
    path = folder_of("run") / "run.yaml"
    path.write_bytes(data)
    try:
        with little_memory():
            run = RunFile.load(path)
            from streamdocs_server.cli import make_gates

            make_gates(run)
    except (ConfigError, CorpusError) as error:
        assert len(str(error)) < 1 << 16
        return
    from streamdocs._base.typed import exact_fraction
    from streamdocs.schedule.mixture import Mixture, plain_shares
    from streamdocs.schedule.order import Shuffle, SourceOrder

    mix = run.mix
    try:
        Mixture(plain_shares(exact_fraction(mix.synthetic_fraction)), mix.max_seq_len, mix.window, mix.shuffle_seed)
        SourceOrder(np.array([3]), Shuffle(mix.shuffle_seed), "synthetic")
    except ConfigError:
        return
    assert isinstance(run.generator.generator(), Generator | None) and all(
        section.recipe is None or section.recipe.cycle >= 1 for section in run.streams_by_name.values()
    )
