import gzip
import json
import os
import random
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.ndjson", bytes),
        ("a.json.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("a.jsonl.zst", lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:])),
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


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd_checked)])
def test_a_damaged_archive_gives_what_can_be_read_and_says_that_there_was_more(tmp_path, suffix, pack, damage):
    generator = random.Random(1)
    documents = [generator.randbytes(50).hex() for _ in range(20_000)]
    packed = bytearray(pack(lines_of(documents)))
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


def test_text_files_and_folders(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "b" / "doc.txt").write_text("a text\nof two lines\n")
    (tmp_path / "b" / "doc.md").write_text("# md")
    (tmp_path / "a.jsonl").write_bytes(lines_of(["line"]))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".cache" / "x.txt").write_text("hidden")
    assert texts(tmp_path) == ["line", "# md", "a text\nof two lines\n", "packed"]
    (tmp_path / "b" / "doc.txt").write_bytes(b"\xff")
    assert causes(tmp_path) == [(1, "invalid UTF-8")]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet(tmp_path, kind):
    documents = [f"document {n} é" for n in range(700)]
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(700), "text": pa.array(documents).cast(kind)}), file, row_group_size=300)
    assert texts(file) == documents
    assert [row.row for row in read(file)] == list(range(1, 701))


def test_bad_parquet(tmp_path):
    def write(name, column, values):
        pq.write_table(pa.table({column: values}), tmp_path / name)
        return tmp_path / name

    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa"))
    assert causes(write("null.parquet", "text", ["a", None])) == [(2, "not a string")]
    assert causes(write("binary.parquet", "text", [b"a"])) == [(1, "not a string")]
    assert causes(write("broken.parquet", "text", broken)) == [(1, "invalid UTF-8")]
    missing = write("missing.parquet", "body", ["a", "b"])
    assert causes(missing) == [(1, "no text field 'text'"), (2, "no text field 'text'")]
    assert texts(missing, text_field="body") == ["a", "b"]
    missing.write_bytes(missing.read_bytes()[:-20])
    assert causes(missing) == [(1, "unreadable rest of file")]


def test_file_names_that_are_not_utf8(tmp_path):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl.gz"))
    file.write_bytes(gzip.compress(lines_of(["x"])))
    assert texts(tmp_path) == ["x"]


def test_links_are_known_by_their_own_names(tmp_path):
    (tmp_path / "blob").write_bytes(lines_of(["x"]))
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "blob")
    assert texts(tmp_path / "a.jsonl") == texts(tmp_path) == ["x"]


def test_inputs_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"nowhere\.jsonl does not exist"):
        read_documents([str(tmp_path / "nowhere.jsonl")])
    with pytest.raises(CorpusError, match=r"a\.png is of no kind"):
        read_documents([str(tmp_path / "a.png")])
    with pytest.raises(CorpusError, match="has no files of a kind"):
        read_documents([str(tmp_path)])


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
