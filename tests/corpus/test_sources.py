import bz2
import functools
import gzip
import itertools
import json
import lzma
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from streamdocs.corpus import BadRow, Document, UnreadableRest, read_documents, sources
from streamdocs.errors import ConfigError, CorpusError


def lines_of(texts):
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def read(*inputs, **options):
    return list(read_documents([str(each) for each in inputs], **options))


def texts(*inputs, **options):
    rows = read(*inputs, **options)
    assert all(isinstance(row, Document) for row in rows), rows
    return [row.text for row in rows]


def causes(*inputs, **options):
    return [(row.row, row.cause) for row in read(*inputs, **options) if isinstance(row, BadRow)]


def lz4(data):
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "lz4") as stream:
        stream.write(data)
    return packed.getvalue().to_pybytes()


def zstd_with_window(data, log):
    # In a stream, whose size nobody knows, so that the window stays as large as was asked.
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.ndjson", bytes),
        ("a.json.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("a.jsonl.zst", lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:])),
        ("A.JSONL.ZSTD", zstandard.compress),
        ("a.Json.GZ", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]) + bytes(512)),
        ("a.jsonl.bz2", bz2.compress),
        ("a.jsonl.xz", lzma.compress),
        ("a.jsonl.lz4", lz4),
        *(("a.jsonl.zst", functools.partial(lambda log, data: zstd_with_window(data, log), log)) for log in (28, 31)),
    ],
)
def test_json_lines(tmp_path, name, pack):
    file = tmp_path / name
    file.write_bytes(pack(lines_of(["one", "zwei é中🙂", "l1\nl2"]) + b"\n  \n" + lines_of(["last"])[:-1]))
    assert texts(file) == ["one", "zwei é中🙂", "l1\nl2", "last"]
    assert [row.row for row in read(file)] == [1, 2, 3, 6]


def test_other_text_field_and_byte_order_mark(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"content": "x", "text": 7}\r\n')
    assert texts(file, text_field="content") == ["x"]


BAD_LINES = [
    (b'{"text": "cut off', "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b'{"text": 1e5000}', "not a string"),
    (b'["text"]', "not an object"),
    (b'"text"', "not an object"),
    (b'{"body": "x"}', "no text field 'text'"),
    (b'{"text": 3}', "not a string"),
    (b'{"text": null}', "not a string"),
    (b'{"text": "\xff\xfe"}', "invalid UTF-8"),
    (b'{"text": "a\\ud800b"}', "invalid UTF-8"),
    (b'{"text": ""}', "empty"),
    (b'{"text": " \\n\\t\\u00a0"}', "empty"),
]


@pytest.mark.parametrize(("line", "cause"), BAD_LINES)
def test_bad_lines_name_their_row_and_do_not_stop_the_rest(tmp_path, line, cause):
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines_of(["good"]) + line + b"\n" + lines_of(["good too"]))
    assert read(file) == [
        Document("good", str(file), 1),
        BadRow(str(file), 2, cause),
        Document("good too", str(file), 3),
    ]


def test_surrogate_pairs_are_one_character(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "\\ud83d\\ude00"}\n')
    assert texts(file) == ["😀"]


def zstd_checked(data):
    # As the zstd command does; without a checksum, damage may go unseen.
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


ARCHIVES = {".gz": gzip.compress, ".zst": zstd_checked, ".bz2": bz2.compress, ".xz": lzma.compress, ".lz4": lz4}


DAMAGES = [*itertools.product(ARCHIVES, ["truncated"]), *itertools.product([*ARCHIVES][:-1], ["flipped"])]


@pytest.mark.parametrize(("suffix", "damage"), DAMAGES)
def test_a_damaged_archive_gives_what_can_be_read_and_says_that_there_was_more(tmp_path, suffix, damage):
    generator = random.Random(1)
    documents = [generator.randbytes(50).hex() for _ in range(20_000)]
    packed = bytearray(ARCHIVES[suffix](lines_of(documents)))
    if damage == "truncated":
        del packed[len(packed) * 3 // 4 :]
    else:
        packed[len(packed) // 2 : len(packed) // 2 + 8] = b"\0" * 8
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(packed)
    rows = read(file)
    good = [row.text for row in rows if isinstance(row, Document)]
    assert len(good) > 1000
    assert isinstance(rows[-1], UnreadableRest) and rows[-1].file == str(file) and rows[-1].error
    if damage == "truncated":
        assert good == documents[: len(good)]
        assert len(rows) == len(good) + 1 == rows[-1].row


def test_lines_and_texts_that_are_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_TEXT_BYTES", 100)
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 200)
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines_of(["x" * 100, "x" * 101, "x" * 1000, "é" * 51, "good"]))
    assert causes(file) == [(2, "too long"), (3, "too long"), (4, "too long")]
    text = tmp_path / "a.txt"
    text.write_bytes(b"x" * 101)
    assert causes(text) == [(1, "too long")]


def test_text_files(tmp_path):
    (tmp_path / "doc.txt").write_text("a text\nof two lines\n")
    (tmp_path / "doc.MD").write_text("# md")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"packed"))
    assert texts(tmp_path) == ["packed", "# md", "a text\nof two lines\n"]
    (tmp_path / "doc.txt").write_bytes(b"\xff")
    assert causes(tmp_path) == [(1, "invalid UTF-8")]


PARQUET_KINDS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
]


def table_of(documents, kind):
    return pa.table({"id": range(len(documents)), "text": pa.array(documents).cast(kind)})


@pytest.mark.parametrize("kind", PARQUET_KINDS, ids=str)
def test_parquet(tmp_path, kind):
    documents = [f"document {n % 100} é" for n in range(700)]
    file = tmp_path / "a.PARQUET"
    pq.write_table(table_of(documents, kind), file, row_group_size=300)
    assert texts(file) == documents
    assert [row.row for row in read(file)] == list(range(1, 701))


def write_arrow(file, table, new=pa.ipc.new_stream):
    with new(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    return file


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("kind", [*PARQUET_KINDS, pa.binary_view()], ids=str)
def test_arrow(tmp_path, kind, new):
    documents = [f"document {n % 100} é" for n in range(700)]
    file = write_arrow(tmp_path / "a.arrow", table_of(documents, kind), new)
    assert texts(file) == documents
    assert [row.row for row in read(file)] == list(range(1, 701))


def test_arrow_that_is_cut_short_or_damaged(tmp_path):
    file = write_arrow(tmp_path / "a.arrow", table_of([f"document {n}" for n in range(700)], pa.string()))
    whole = file.read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1):  # without its last 8 bytes, the end mark
        file.write_bytes(whole[:size])
        *rows, last = read(file)
        assert isinstance(last, UnreadableRest) and last.row == len(rows) + 1, size
    assert len(rows) == 700
    offsets = np.array([0, 1 << 40, 2], np.int64)  # the first text ends far outside
    wild = pa.LargeStringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(b"ab"))
    (row,) = read(write_arrow(file, pa.table({"text": wild})))
    assert isinstance(row, UnreadableRest)
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xffa"))
    assert causes(write_arrow(file, pa.table({"text": broken}))) == [(1, "invalid UTF-8")]
    assert causes(write_arrow(file, pa.table({"body": ["a"]}))) == [(1, "no text field 'text'")]


def test_bad_parquet(tmp_path):
    def write(name, column, values):
        pq.write_table(pa.table({column: values}), tmp_path / name)
        return tmp_path / name

    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa"))
    assert causes(write("null.parquet", "text", ["a", None])) == [(2, "not a string")]
    assert causes(write("binary.parquet", "text", [b"a", b"\xff"])) == [(2, "invalid UTF-8")]
    assert causes(write("broken.parquet", "text", broken)) == [(1, "invalid UTF-8")]
    assert causes(write("list.parquet", "text", [["a"], ["b"]])) == [(1, "not a string"), (2, "not a string")]
    missing = write("missing.parquet", "body", ["a", "b"])
    assert causes(missing) == [(1, "no text field 'text'"), (2, "no text field 'text'")]
    assert "it has body: see --text-field" in read(missing)[0].hint
    assert texts(missing, text_field="body") == ["a", "b"]
    missing.write_bytes(missing.read_bytes()[:-20])
    assert causes(missing) == [(1, "unreadable rest of file")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.arrow"])
def test_a_text_field_within_others(tmp_path, name):
    rows = [
        {"a.b": "by name", "a": {"b": "x"}, "data": {"id": 1, "raw": {"text": "one"}}},
        {"a.b": None, "a": {"b": "y"}, "data": {"id": 2, "raw": {"text": 7 if name == "a.jsonl" else None}}},
        {"a.b": "third", "a": None, "data": None},
    ]
    file = tmp_path / name
    if name == "a.jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        write_arrow(file, pa.Table.from_pylist(rows))
    assert [getattr(row, "text", row) for row in read(file, text_field="a.b")][::2] == ["by name", "third"]
    one, two, three = read(file, text_field="data.raw.text")
    assert one.text == "one" and two.cause == "not a string"
    assert three.cause == ("no text field 'data.raw.text'" if name == "a.jsonl" else "not a string")
    for absent in ("data.text", "data.", ".data", "data.raw.text.x", "data.id.x"):
        assert {row.cause for row in read(file, text_field=absent)} == {f"no text field {absent!r}"}


def test_file_names_that_are_not_utf8(tmp_path):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl.gz"))
    file.write_bytes(gzip.compress(lines_of(["x"])))
    assert texts(tmp_path) == ["x"]


def test_links_are_known_by_their_own_names(tmp_path):
    (tmp_path / "blob").write_bytes(lines_of(["x"]))
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "blob")
    assert texts(tmp_path / "a.jsonl") == texts(tmp_path) == ["x"]


def usable_datasets():
    try:
        import datasets
    except (ImportError, AttributeError):  # the second: a version that does not go with this pyarrow
        return False
    return bool(datasets.__version__)


@pytest.mark.skipif(not usable_datasets(), reason="datasets cannot be imported")
def test_datasets_by_name(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines_of(["one", "two", ""]))
    source = f"hf://json?data_files={file}"
    assert read(source) == [Document("one", source, 1), Document("two", source, 2), BadRow(source, 3, "empty")]
    assert [row.cause for row in read(source, text_field="x")] == ["no text field 'x'"] * 3
    with pytest.raises(CorpusError, match="cannot be opened"):
        read(f"hf://json:nosplit?data_files={file}")
    with pytest.raises(CorpusError, match="cannot be opened"):
        read(f"hf://{tmp_path}/no-such-dataset")


@pytest.mark.skipif(not usable_datasets(), reason="datasets cannot be imported")
def test_options_of_a_dataset_are_no_form(tmp_path):
    for name in ("a+b.jsonl", "c d.jsonl"):
        (tmp_path / name).write_bytes(lines_of([name]))
    both = f"hf://json:train?data_files={tmp_path}/a+b.jsonl&data_files={tmp_path}/c%20d.jsonl"
    assert texts(both) == ["a+b.jsonl", "c d.jsonl"]
    for wrong in ("data_files", "split=train", "streaming=False"):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no OPTION=VALUE"):
            read(f"hf://json?{wrong}")


@pytest.mark.skipif(not usable_datasets(), reason="datasets cannot be imported")
def test_a_dataset_that_breaks_off(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines_of(["one", "two"]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines_of(["three", "four"]))[:-10])
    *rows, last = read(f"hf://{tmp_path}")
    assert [row.text for row in rows] == ["one", "two"]
    assert isinstance(last, UnreadableRest) and last.row == 3 and "end-of-stream" in last.error


def test_a_file_that_fails_when_it_is_read(tmp_path):
    for name in ("a.jsonl", "a.txt", "a.parquet"):
        (tmp_path / name).symlink_to("/proc/self/mem")  # opens, and cannot be read
        (row,) = read(tmp_path / name)
        assert isinstance(row, UnreadableRest) and row.row == 1 and row.error


def test_datasets_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match="pip install datasets"):
        read("hf://json")


def test_every_string_of_a_row(tmp_path):
    rows = [
        {"question": "q", "choices": ["a", {"b": "c", "n": 1, "deep": [["d", None, "  ", ""]]}], "answer": "e"},
        {"n": 1},
        {"text": "zwei"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "[1]\n")
    found = read(tmp_path / "a.jsonl", text_field="*")
    assert [(row.row, row.text) for row in found[:-1]] == [
        (1, "q"),
        (1, "a"),
        (1, "c"),
        (1, "d"),
        (1, "e"),
        (3, "zwei"),
    ]
    assert found[-1].cause == "not an object"
    (tmp_path / "b.jsonl").write_text('{"a": ' * 900 + '"deep"' + "}" * 900)
    assert texts(tmp_path / "b.jsonl", text_field="*") == ["deep"]
    (tmp_path / "a.txt").write_text("whole")
    assert texts(tmp_path / "a.txt", text_field="*") == ["whole"]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_every_string_of_a_table(tmp_path, kind):
    columns = {
        "question": ["q", None],
        "choices": pa.array([["a", "b"], []], pa.large_list(pa.large_string())),
        "more": [{"x": "c", "n": 3}, {"x": " ", "n": None}],
        "pairs": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
        "image": [b"\xff\xfe", b"plain"],
        "last": ["d", "e"],
    }
    table, file = pa.table(columns), tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(table, file)
    else:
        write_arrow(file, table)
    assert [(row.row, row.text) for row in read(file, text_field="*")] == [
        *((1, text) for text in ("q", "a", "b", "c", "k", "v", "d")),
        (2, "e"),
    ]


def test_every_string_of_a_damaged_table(tmp_path):
    _, *buffers = pa.array([b"fine", b"\xff\xfe"]).buffers()
    pq.write_table(pa.table({"text": pa.StringArray.from_buffers(2, *buffers)}), tmp_path / "a.parquet")
    (row,) = read(tmp_path / "a.parquet", text_field="*")
    assert isinstance(row, UnreadableRest) and "UTF8" in row.error


def test_a_column_whose_name_is_damaged(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one"], "other": ["two"]}), file, store_schema=False)
    file.write_bytes(file.read_bytes().replace(b"other", b"oth\xefr"))
    for field in ("text", "*"):
        (row,) = read(file, text_field=field)
        assert isinstance(row, UnreadableRest) and "utf-8" in row.error


def test_a_length_that_fits_into_no_memory_is_told(tmp_path):
    def batches(stream, columns):
        raise MemoryError

    (tmp_path / "a.arrow").write_bytes(b"")
    (row,) = sources._read_table(batches, str(tmp_path / "a.arrow"), SimpleNamespace(text="text", keep=()))
    assert "a length in it is more than fits into memory" in str(row)
