import json
import math
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from streamdocs.corpus import CorpusTokenizer, Where, document_digest, info, load_index, prepare_corpus
from streamdocs.corpus.columns import file as column_file
from streamdocs.corpus.columns.file import read_batches
from streamdocs.corpus.columns.selection import told
from streamdocs.corpus.files import is_held_out, save_index
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import BadInputError, ConfigError, CorpusError

ROWS = [
    {"text": "one", "quality": 3, "language": "en", "good": True, "meta": {"url": "https://a/é", "score": 0.5}},
    {"text": "two", "quality": 4, "language": "de", "good": False, "meta": {"url": "https://b", "score": None}},
    {"text": "three", "quality": None, "language": "en", "good": True, "meta": None},
    {"text": "four", "quality": 1, "language": None, "good": None, "meta": {"url": "https://a/é", "score": -2.25}},
    {"text": "one", "quality": 5, "language": "xx", "good": True, "meta": {"url": "https://again", "score": 9.0}},
]
KEEP = ["quality", "language", "good", "meta.url", "meta.score", "text"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    CorpusTokenizer.train([row["text"] for row in ROWS], 300).save(folder)
    return str(folder)


def lines_of(rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def write_arrow(file: Path, rows) -> None:
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS = {
    "a.jsonl": lambda file, rows: file.write_bytes(lines_of(rows)),
    "a.jsonl.zst": lambda file, rows: file.write_bytes(zstandard.compress(lines_of(rows))),
    "a.parquet": lambda file, rows: pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2),
    "a.arrow": write_arrow,
    "hf": lambda file, rows: file.with_suffix(".jsonl").write_bytes(lines_of(rows)),
}


def prepare(folder: Path, rows, tokenizer, *, kind="a.jsonl", **options) -> Path:
    """A corpus of the rows, in a file of this kind."""
    WRITERS[kind](folder / kind, rows)
    source = f"hf://json?data_files={folder / 'hf.jsonl'}" if kind == "hf" else str(folder / kind)
    prepare_corpus([source], folder / "corpus", tokenizer=tokenizer, progress=False, **options)
    return folder / "corpus"


def values(corpus: Path, name: str, split: str = "train") -> list[float | str | None]:
    """What lies in a column's file."""
    column = load_index(corpus)["splits"][split]["columns"][name]
    path = corpus / split / "columns" / column["file"]
    return [value for piece in read_batches(path, column["kind"]) for value in piece.to_pylist()]


def select(corpus: Path, **where) -> list[int]:
    return Corpus(corpus).select(Where.model_validate(where)).tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_values_of_every_kind_of_input(tmp_path, tokenizer, kind):
    if kind == "hf":
        pytest.importorskip("datasets", exc_type=(ImportError, AttributeError))
    corpus = prepare(tmp_path, ROWS, tokenizer, kind=kind, keep=KEEP)
    assert {name: values(corpus, name) for name in KEEP} == {
        "quality": [3, 4, None, 1],
        "language": ["en", "de", "en", None],
        "good": [1, 0, 1, None],
        "meta.url": ["https://a/é", "https://b", None, "https://a/é"],
        "meta.score": [0.5, None, None, -2.25],
        "text": ["one", "two", "three", "four"],
    }
    report = load_index(corpus)["report"]
    # A null, and a field of an object that is null, which is not there.
    score = {"null": 2} if kind in ("a.parquet", "a.arrow") else {"null": 1, "missing": 1}
    assert report["columns"]["meta.score"] == score and report["made_from"]["keep"] == sorted(KEEP)
    assert select(corpus, quality={"min": 3}, language=["en", "fr"]) == [0]
    assert select(corpus, **{"meta.url": "https://a/é", "good": {"none_of": 0}}) == [0]
    assert select(corpus, good=True) == [0, 2]


def test_a_corpus_is_the_same_with_columns(tmp_path, tokenizer):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    kept, plain = (
        prepare(tmp_path / name, ROWS, tokenizer, holdout=0.4, keep=keep)
        for name, keep in (("with", KEEP), ("without", []))
    )
    files = sorted(path.relative_to(plain) for path in plain.rglob("*") if path.is_file())
    assert {path.relative_to(kept) for path in kept.rglob("*") if path.suffix != ".arrow" and path.is_file()} == {
        *files
    }
    for file in files:
        assert file.name == "corpus.json" or (plain / file).read_bytes() == (kept / file).read_bytes()
    assert "columns" not in (plain / "corpus.json").read_text()
    with_columns, without = load_index(kept), load_index(plain)
    assert list(with_columns["splits"]) == ["train", "holdout"]
    for split in with_columns["splits"].values():
        assert set(split.pop("columns")) == set(KEEP)
    assert with_columns["splits"] == without["splits"]
    with pytest.raises(ConfigError, match=r"has no column 'quality', it has none; .*--keep quality --overwrite`"):
        select(plain, quality=3)


UNUSABLE = [
    (float("nan"), "not a finite number"),
    (-math.inf, "not a finite number"),
    (2**53 + 1, "more digits than a float has"),
    (10**400, "more digits than a float has"),
    ("é" * 2049, "longer than 4,096 bytes"),
    ("x" * 4097, "longer than 4,096 bytes"),
    ("\ud800", "invalid UTF-8"),
    ([1], "neither number nor string"),
    ({"a": 1}, "neither number nor string"),
    (None, "null"),
]


@pytest.mark.parametrize(("first", "other"), [(7, "not a number"), ("7", "not a string")])
def test_rows_without_a_usable_value_are_counted_and_stay_documents(tmp_path, tokenizer, first, other):
    odd = "x" if first == 7 else 1.5
    found = [odd, first, *(value for value, _ in UNUSABLE), first]
    rows = [{"text": f"text {number}", "x": value} for number, value in enumerate(found)]
    corpus = prepare(tmp_path, [*rows, {"text": "no such field"}], tokenizer, keep=["x"])
    assert values(corpus, "x") == [None, first, *[None] * len(UNUSABLE), first, None]
    assert load_index(corpus)["splits"]["train"]["columns"]["x"]["missing"] == len(rows) - 1
    causes = [cause for _, cause in UNUSABLE] + ["missing", other]
    assert load_index(corpus)["report"]["columns"]["x"] == {cause: causes.count(cause) for cause in causes}
    assert select(corpus, x=first) == [1, len(found) - 1]
    assert [path.name for path in (corpus / "train/columns").iterdir()] == ["0.arrow"]


@pytest.mark.parametrize("value", [2**53, -(2**53), 0.1, 5e-324, "", "x" * 4096, "é" * 2048, "\0", " "])
def test_values_at_the_limits_are_kept(tmp_path, tokenizer, value):
    corpus = prepare(tmp_path, [{"text": "a", "x": value}, {"text": "b"}], tokenizer, keep=["x"])
    assert values(corpus, "x") == [value, None]
    assert select(corpus, x=value) == [0]


def test_bytes_of_a_table_that_are_no_utf8_are_no_value(tmp_path, tokenizer):
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xffa"))
    pq.write_table(pa.table({"text": ["one", "two"], "x": broken}), tmp_path / "b.parquet")
    prepare_corpus([str(tmp_path / "b.parquet")], tmp_path / "corpus", tokenizer=tokenizer, keep=["x"], progress=False)
    assert values(tmp_path / "corpus", "x") == [None, "a"]


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "\0", "é" * 200, "corpus.json", ".", "CON", "a\nb"])
def test_a_field_may_have_any_name(tmp_path, tokenizer, name):
    rows = [{"text": "a", name: 1}, {"text": "b", name: 2}]
    if not name:
        with pytest.raises(ConfigError, match="each has a name"):
            prepare(tmp_path, rows, tokenizer, keep=[name])
        return
    corpus = prepare(tmp_path, rows, tokenizer, keep=[name])
    assert [path.name for path in (corpus / "train/columns").iterdir()] == ["0.arrow"]
    assert select(corpus, **{name: {"min": 2}}) == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "corpus"]


@pytest.mark.parametrize("kind", ["a.jsonl", "a.parquet", "a.arrow"])
def test_a_field_with_fields_within_is_told_at_the_door(tmp_path, tokenizer, monkeypatch, kind):
    monkeypatch.setattr("streamdocs.corpus.prepare._write_splits", None)
    with pytest.raises(ConfigError, match=r"--keep meta: neither numbers nor strings; OUTER\.INNER"):
        prepare(tmp_path, ROWS[:2], tokenizer, kind=kind, keep=["quality", "meta"])


@pytest.mark.parametrize("kind", ["a.jsonl", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("name", ["qualty", "meta.urls", "quality.x", "meta.url.x"])
def test_a_field_that_is_not_there_is_named_at_the_door(tmp_path, tokenizer, monkeypatch, kind, name):
    monkeypatch.setattr("streamdocs.corpus.prepare._write_splits", None)
    with pytest.raises(ConfigError, match=rf"--keep {name}: .*they have good, language, meta, quality, text .OUTER"):
        prepare(tmp_path, ROWS, tokenizer, kind=kind, keep=["quality", name])
    assert not (tmp_path / "corpus").exists()


def test_other_ways_to_ask_for_what_is_not_there(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("a text")
    with pytest.raises(ConfigError, match="--keep url: the inputs have no such field; they have none"):
        prepare_corpus([str(tmp_path / "a.txt")], tmp_path / "corpus", tokenizer=tokenizer, keep=["url"])
    with pytest.raises(ConfigError, match="--keep is a list"):
        prepare(tmp_path, ROWS, tokenizer, keep="quality")
    with pytest.raises(BadInputError, match="no text field 'body'"):  # what is wrong comes first
        prepare(tmp_path, ROWS, tokenizer, text_field="body", keep=["quality"])
    rows = [{"text": f"text {number}", "x": None if number else [1]} for number in range(3)]
    with pytest.raises(CorpusError, match=r"--keep x: no document has a value .*\(2 null, 1 neither number nor"):
        prepare(tmp_path, rows, tokenizer, keep=["x"])
    assert not (tmp_path / "corpus").exists()


def test_a_field_of_some_inputs_and_of_rows_after_others(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_bytes(b"broken\n" + lines_of([{"text": f"a {n}"} for n in range(1500)]))
    (tmp_path / "b.jsonl").write_bytes(lines_of([{"text": f"b {n}", "x": n} for n in range(3)]))
    (tmp_path / "c.txt").write_text("a text")
    inputs = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.txt")]
    prepare_corpus(inputs, tmp_path / "corpus", tokenizer=tokenizer, keep=["x"], progress=False)
    assert values(tmp_path / "corpus", "x") == [*[None] * 1500, 0, 1, 2, None]
    assert select(tmp_path / "corpus", x={"min": 1}) == [1501, 1502]


def test_a_pipe_is_read_once(tmp_path, tokenizer):
    os.mkfifo(tmp_path / "a.jsonl")
    with ThreadPoolExecutor(1) as thread:
        thread.submit((tmp_path / "a.jsonl").write_bytes, lines_of(ROWS))
        prepare_corpus(
            [str(tmp_path / "a.jsonl")], tmp_path / "corpus", tokenizer=tokenizer, keep=["quality"], progress=False
        )
    assert values(tmp_path / "corpus", "quality") == [3, 4, None, 1]


def test_both_splits_have_the_kind_of_most_values(tmp_path, tokenizer):
    rows = [{"text": f"text {number}", "x": None} for number in range(60)]
    held_out = [row for row in rows if is_held_out(document_digest(row["text"]), 0.3)]
    first, second, *_ = [row for row in rows if row not in held_out]
    held_out[0]["x"], first["x"], second["x"] = "string", 1, 2
    corpus = prepare(tmp_path, rows, tokenizer, holdout=0.3, keep=["x"])
    columns = {split: section["columns"]["x"] for split, section in load_index(corpus)["splits"].items()}
    assert columns["train"]["quartiles"] == [1, 1, 1, 2, 2]
    assert columns["holdout"]["kind"] == "number" and columns["holdout"]["quartiles"] is None
    assert values(corpus, "x", "holdout") == [None] * len(held_out)
    assert load_index(corpus)["report"]["columns"]["x"] == {"null": 57, "not a number": 1}
    assert told(columns["holdout"], len(held_out)) == "numbers, none of them here"


@pytest.mark.parametrize(("most", "kind"), [(4, pa.dictionary(pa.int16(), pa.string())), (3, pa.string())])
def test_many_strings_and_few(tmp_path, tokenizer, monkeypatch, most, kind):
    monkeypatch.setattr(column_file, "MOST_DISTINCT", most)
    monkeypatch.setattr(column_file, "BATCH_ROWS", 3)
    found = [None, None, None, None, "b", "a", "b", None, "c", "d", "b"]
    corpus = prepare(tmp_path, [{"text": f"t {n}", "x": x} for n, x in enumerate(found)], tokenizer, keep=["x"])
    assert values(corpus, "x") == found
    (only,) = (corpus / "train/columns").iterdir()
    with pa.memory_map(str(only)) as mapped:
        assert pa.ipc.open_file(mapped).schema.types == [kind]
    column = info(corpus)["splits"]["train"]["columns"]["x"]
    assert column["distinct"] == (4 if most == 4 else None) and column["values"] == 6
    assert list(column["commonest"].items()) == ([("b", 3), ("a", 1), ("c", 1), ("d", 1)] if most == 4 else [])
    assert select(corpus, x=["b", "d", "z"]) == [4, 6, 9, 10]
    assert select(corpus, x={"none_of": ["b"]}) == [5, 8, 9]


def test_other_columns_are_another_corpus(tmp_path, tokenizer):
    corpus = prepare(tmp_path, ROWS, tokenizer, keep=["quality", "language"])
    before = (corpus / "corpus.json").stat().st_ino
    source = str(tmp_path / "a.jsonl")

    def again(**options):
        prepare_corpus([source], corpus, tokenizer=tokenizer, progress=False, **options)
        return (corpus / "corpus.json").stat().st_ino

    assert again(keep=["language", "quality", "language"]) == before
    for keep in ([], ["quality"], ["quality", "good"]):
        with pytest.raises(CorpusError, match="its keep differ"):
            again(keep=keep)
    assert again(keep=[], overwrite=True) != before
    assert again() == again(keep=[])
    with pytest.raises(CorpusError, match="its keep differ"):
        again(keep=["quality"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("corpus")
    rows = [
        {"text": f"text {n}", "n": n / 2, "language": ["en", "de", "é"][n % 7 % 3], "url": f"u/{n}"} for n in range(90)
    ]
    rows[3] = {"text": "text 3"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_file, "MOST_DISTINCT", 50)
        return prepare(folder, rows, tokenizer, keep=["n", "language", "url"])


def test_quartiles_are_told_shortly():
    column = {"kind": "number", "missing": 0, "quartiles": [-1 / 3, 0, 1e-9, 1732819200.0, 1 / 3e-9]}
    assert told(column, 9) == "numbers from -0.333333 to 3.33333e+08, quartiles 0, 1e-09, 1732819200"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            {"qualty": 3},
            r"has no column 'qualty', it has language, n, url; .*--keep language,n,qualty,url --overwrite`",
        ),
        ({"n": "3"}, r"where: n of .*train has numbers from 0 to 44\.5, quartiles .*; any_of 3 is for strings"),
        ({"language": 3}, r"has 3 strings: en \d\d\.\d%, .*; any_of 3 is for numbers: quote them"),
        ({"language": {"min": 3}}, r"has 3 strings: .*; min 3 is for numbers$"),
        ({"n": {"min": 44.75}}, r"none of the 90 documents .* meets it \(n min 44\.75: 0, of numbers from 0 to 44\.5"),
        ({"n": {"max": 0}, "language": "de"}, r"meets all \(n max 0: 1, of numbers .*; language any_of de: \d\d, of 3"),
        ({"url": ["x"]}, r"url any_of x: 0, of more than 32,767 strings"),
    ],
)
def test_conditions_that_do_not_fit_the_corpus(corpus, where, message):
    with pytest.raises(ConfigError, match=message):
        select(corpus, **where)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["n", "language", "url"])
def test_a_column_that_is_damaged_anywhere_is_refused_when_it_is_read(corpus, tmp_path, name):
    shutil.copytree(corpus, tmp_path / "corpus")
    column = load_index(corpus)["splits"]["train"]["columns"][name]
    path = tmp_path / "corpus/train/columns" / column["file"]
    whole = path.read_bytes()
    condition = {name: {"none_of": -1 if name == "n" else "x"}}
    opened = Corpus(tmp_path / "corpus")
    assert len(opened.select(Where.model_validate(condition))) == 89

    def check():
        with pytest.raises(CorpusError, match=rf"columns/{column['file']} cannot be read .*prepare --overwrite"):
            select(tmp_path / "corpus", **condition)

    for at in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        flip(path, at)
        check()
        flip(path, at)
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        check()
    other = load_index(corpus)["splits"]["train"]["columns"]["n" if name == "url" else "url"]
    shutil.copy(path.with_name(other["file"]), path)
    check()
    path.unlink()
    check()
    assert Corpus(tmp_path / "corpus").text(0) == "text 0"  # which needs none of it


def test_columns_are_downloaded_when_a_condition_asks_for_them(corpus, tmp_path):
    columns = tmp_path / "train/columns"
    columns.mkdir(parents=True)
    left = columns / f".0.arrow.unfinished-999999999-00000000-{socket.gethostname()}"
    left.touch()
    read = Corpus(tmp_path, str(corpus))
    assert not list(columns.iterdir())
    found = read.select(Where.model_validate({"n": {"max": 2}}))
    assert found.tolist() == select(corpus, n={"max": 2}) == [0, 1, 2, 4]
    assert [path.name for path in columns.iterdir()] == [load_index(corpus)["splits"]["train"]["columns"]["n"]["file"]]


def test_forged_indexes_open_no_other_file(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    for change in (
        {"file": "../../corpus.json"},
        {"kind": "text"},
        {"missing": -1},
        {"digest": "x"},
        {"quartiles": [0, 1, 2]},
        {"quartiles": [0, 1, 2, 3, math.nan]},
    ):
        index = load_index(corpus)
        index["splits"]["train"]["columns"]["n"] |= change
        save_index(tmp_path / "corpus", index)
        with pytest.raises(CorpusError, match=r"is not what `streamdocs prepare` writes .*columns\.n"):
            Corpus(tmp_path / "corpus")
    index = load_index(corpus)
    columns = index["splits"]["train"]["columns"]
    columns["n"] |= {name: columns["url"][name] for name in ("file", "digest")}
    save_index(tmp_path / "corpus", index)
    with pytest.raises(CorpusError, match="not one column of numbers"):
        select(tmp_path / "corpus", n=1)


@pytest.mark.parametrize("rows", [89, 91, 90])
def test_forged_columns_lead_nowhere(corpus, tmp_path, rows):
    shutil.copytree(corpus, tmp_path / "corpus")
    codes = pa.array([0] * (rows - 1) + [2 if rows == 90 else 1], pa.int16())
    forged = pa.DictionaryArray.from_arrays(codes, pa.array(["en", "de"]), safe=False)
    index = load_index(corpus)
    column = index["splits"]["train"]["columns"]["language"]
    path = tmp_path / "corpus/train/columns" / column["file"]
    with pa.ipc.new_file(str(path), pa.schema([("value", forged.type)])) as writer:
        writer.write_batch(pa.record_batch([forged], ["value"]))
    column["digest"] = column_file.file_digest(path)
    save_index(tmp_path / "corpus", index)
    with pytest.raises(CorpusError, match="has 89 rows|has 91 rows" if rows != 90 else "cannot be read"):
        select(tmp_path / "corpus", language="en")
