import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
import zstandard
from streaming import StreamingDataset

from streamdocs.corpus import CorpusTokenizer, document_digest, info, load_documents, load_index, prepare_corpus
from streamdocs.corpus import prepare as prepare_module
from streamdocs.corpus.files import is_held_out, save_index, split_digest
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import BadInputError, ConfigError, CorpusError
from streamdocs.recipes import MARKS


def make_texts(n=300, seed=0):
    generator = random.Random(seed)
    words = ["river", "stone", "é", "中文", "<|end_of_text|>", "<think>", "water", "12"]
    return [f"{i} " + " ".join(generator.choices(words, k=generator.randint(1, 40))) for i in range(n)]


def write_lines(file, texts, *raw):
    file.write_bytes(b"".join(json.dumps({"text": t}).encode() + b"\n" for t in texts) + b"".join(raw))
    return str(file)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    CorpusTokenizer.train(make_texts(), 300).save(folder)
    return str(folder)


def prepare(inputs, out, tokenizer, **options):
    return prepare_corpus([str(each) for each in inputs], out, tokenizer=tokenizer, progress=False, **options)


def read_split(folder):
    return list(StreamingDataset(local=str(folder), batch_size=1))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_shards_read_back_with_plain_streaming(tmp_path, tokenizer):
    texts = make_texts()
    corpus = tmp_path / "corpus"
    prepare([write_lines(tmp_path / "a.jsonl", texts)], corpus, tokenizer, holdout=0.2, shard_bytes=5000)
    wrap = CorpusTokenizer.load(corpus)
    index = load_index(corpus)
    assert set(index["splits"]) == {"train", "holdout"}
    found = []
    for split, summary in index["splits"].items():
        samples, documents = read_split(corpus / split), load_documents(corpus, split)
        assert len(samples) == len(documents) == summary["documents"]
        assert summary["tokens"] == documents["tokens"].sum()
        assert summary["text_bytes"] == documents["text_bytes"].sum()
        assert summary["digest"] == split_digest(corpus / split, wrap.digest)
        for sample, row in zip(samples, documents, strict=True):
            assert bytes(row["digest"]) == document_digest(sample["text"])
            assert row["text_bytes"] == len(sample["text"].encode())
            assert row["tokens"] == len(sample["tokens"])
            assert sample["tokens"].dtype == np.uint16
            assert wrap.decode(sample["tokens"]) == sample["text"]
            assert not np.isin(sample["tokens"], [wrap.bos, wrap.eos]).any()
            assert is_held_out(bytes(row["digest"]), 0.2) == (split == "holdout")
        found += [sample["text"] for sample in samples]
        order = [texts.index(sample["text"]) for sample in samples]
        assert order == sorted(order)
        shards = json.loads((corpus / split / "index.json").read_text())["shards"]
        assert len(shards) > 1
        assert all(shard["samples"] and shard["column_names"] == ["text", "tokens"] for shard in shards)
    assert sorted(found) == sorted(texts)
    assert names(tmp_path) == ["a.jsonl", "corpus"]


def test_documents_larger_than_a_shard(tmp_path, tokenizer):
    texts = ["first " * 500, "small", "third " * 500]
    corpus = tmp_path / "corpus"
    prepare([write_lines(tmp_path / "a.jsonl", texts)], corpus, tokenizer, shard_bytes=2000)
    assert [sample["text"] for sample in read_split(corpus / "train")] == texts
    assert [s["samples"] for s in json.loads((corpus / "train/index.json").read_text())["shards"]] == [1, 1, 1]


def test_batches_do_not_change_the_corpus(tmp_path, tokenizer, monkeypatch):
    file = write_lines(tmp_path / "a.jsonl", make_texts())
    prepare([file], tmp_path / "one", tokenizer)
    monkeypatch.setattr(prepare_module, "BATCH_DOCUMENTS", 7)
    monkeypatch.setattr(prepare_module, "BATCH_CHARACTERS", 500)
    prepare([file], tmp_path / "two", tokenizer)
    for part in ("train/index.json", "train/documents.npy", "train/shard.00000.mds", "tokenizer.json", "corpus.json"):
        assert (tmp_path / "one" / part).read_bytes() == (tmp_path / "two" / part).read_bytes()


def test_holdout_depends_on_texts_alone(tmp_path, tokenizer):
    texts = make_texts()
    write_lines(tmp_path / "a.jsonl", texts)
    write_lines(tmp_path / "b.jsonl", texts[:50:-1])
    held = []
    for name in "ab":
        prepare([tmp_path / f"{name}.jsonl"], tmp_path / name, tokenizer, holdout=0.3)
        held.append({bytes(digest) for digest in load_documents(tmp_path / name, "holdout")["digest"]})
    assert 50 < len(held[0]) < 130
    assert held[1] == held[0] & {document_digest(text) for text in texts[:50:-1]}


def test_no_holdout_folder_without_documents(tmp_path, tokenizer):
    prepare([write_lines(tmp_path / "a.jsonl", ["one"])], tmp_path / "corpus", tokenizer, holdout=1e-9)
    assert set(load_index(tmp_path / "corpus")["splits"]) == {"train"}
    assert names(tmp_path / "corpus") == ["corpus.json", "tokenizer.json", "train"]


def test_duplicates_are_dropped_and_counted(tmp_path, tokenizer):
    a = write_lines(tmp_path / "a.jsonl", ["x", "y", "x"])
    b = write_lines(tmp_path / "b.jsonl", ["z", "y", "y "])
    report = prepare([a, b], tmp_path / "corpus", tokenizer)
    assert (report["rows"], report["duplicates"], report["bad"]) == (6, 2, {})
    assert [sample["text"] for sample in read_split(tmp_path / "corpus/train")] == ["x", "y", "z", "y "]


def test_bad_rows_are_reported_by_cause(tmp_path, tokenizer):
    file = write_lines(tmp_path / "a.jsonl", ["x", " ", "", "\n"], b"{\n", b'{"text": "\\udc00"}\n')
    report = prepare([file], tmp_path / "corpus", tokenizer, max_bad=5)
    assert report["bad"] == {"empty": 3, "not JSON": 1, "invalid UTF-8": 1}
    assert report == load_index(tmp_path / "corpus")["report"]
    assert {"file": file, "row": 5, "cause": "not JSON"} in report["bad_examples"]
    assert {example["cause"] for example in report["bad_examples"]} == set(report["bad"])


@pytest.mark.parametrize("max_bad", [0, 2, 0.02, 0.2])
def test_too_many_bad_rows_leave_nothing(tmp_path, tokenizer, max_bad):
    file = write_lines(tmp_path / "a.jsonl", ["x", " ", "", "\n"], b"{\n")
    with pytest.raises(BadInputError, match=r"empty \(first in .*a\.jsonl, row 2\).*raise --max-bad"):
        prepare([file], tmp_path / "corpus", tokenizer, max_bad=max_bad)
    assert names(tmp_path) == ["a.jsonl"]


def test_a_wrong_text_field_is_noticed_early(tmp_path, tokenizer):
    file = write_lines(tmp_path / "a.jsonl", make_texts(3000))
    with pytest.raises(BadInputError, match=r"1000 of the 1000 rows read .* 1000 no text field 'body'"):
        prepare([file], tmp_path / "corpus", tokenizer, text_field="body", max_bad=0.9)


def write_cut_short(file, texts) -> bytes:
    """Write an archive as an interrupted download leaves it, and return all of it."""
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    whole = zstandard.ZstdCompressor().compress(lines)
    file.write_bytes(whole[: len(whole) // 2])
    return whole


@pytest.mark.parametrize("max_bad", [0, 0.01, 0.99, 1, 1_000_000])
def test_an_input_that_breaks_off_leaves_nothing(tmp_path, tokenizer, max_bad):
    file = tmp_path / "a.jsonl.zst"
    write_cut_short(file, make_texts(20_000))
    message = r"a\.jsonl\.zst cannot be read to its end: after \d,\d\d\d rows, .*--max-bad inf"
    with pytest.raises(BadInputError, match=message):
        prepare([file], tmp_path / "corpus", tokenizer, max_bad=max_bad)
    assert names(tmp_path) == ["a.jsonl.zst"]


def test_an_input_that_breaks_off_is_taken_as_it_is_if_that_is_asked_for(tmp_path, tokenizer):
    write_cut_short(tmp_path / "a.jsonl.zst", make_texts(20_000))
    report = prepare([tmp_path / "a.jsonl.zst"], tmp_path / "corpus", tokenizer, max_bad=float("inf"))
    assert report["bad"] == {"unreadable rest of file": 1}
    assert 1000 < info(tmp_path / "corpus")["splits"]["train"]["documents"] < 20_000


def test_inputs_that_lack_their_data_are_named_before_anything_is_read(tmp_path, tokenizer):
    folder = tmp_path / "in"
    folder.mkdir()
    write_lines(folder / "a.jsonl", ["x"])
    (folder / "b.jsonl.gz").touch()
    (folder / "c.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (folder / "d").symlink_to("nowhere")
    for max_bad in (0, 0.99, 1000):
        with pytest.raises(
            BadInputError, match=r"3 inputs .*b\.jsonl\.gz: it has 0 .*c\.parquet: .*git lfs pull.*d: No such"
        ):
            prepare([folder], tmp_path / "corpus", tokenizer, max_bad=max_bad)
    report = prepare([folder], tmp_path / "corpus", tokenizer, max_bad=float("inf"))
    assert report["files"] == 1 and report["bad"] == {"unreadable rest of file": 3}
    assert report["left_out"]["without a row that can be used"]["files"] == 3


def test_what_became_of_every_file_is_in_the_report(tmp_path, tokenizer):
    folder = tmp_path / "in"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("# A dataset card")
    (folder / "metadata.json").write_text(json.dumps({"rows": 3}, indent=2))
    (folder / "data" / "table.csv").write_text("text\nx")
    for number in range(2):
        write_lines(folder / "data" / f"x-{number}-of-3.jsonl", [f"text {number}"])
    write_lines(folder / "nothing.jsonl", [])
    write_lines(folder / "blank.jsonl", ["", " "])
    write_lines(folder / "twice.jsonl", ["text 0"])
    report = prepare([folder], tmp_path / "corpus", tokenizer, max_bad=2)
    assert report == info(tmp_path / "corpus")["report"]
    assert (report["files"], report["rows"], report["duplicates"], report["bad"]) == (3, 5, 1, {"empty": 2})
    assert {
        cause: (each["files"], os.path.relpath(each["first"], folder)) for cause, each in report["left_out"].items()
    } == {
        ".csv is not read": (1, "data/table.csv"),
        "one JSON value without 'text': metadata": (1, "metadata.json"),
        "text beside tables": (1, "README.md"),
        "not there, of x-*-of-3.jsonl": (1, "data/x-2-of-3.jsonl"),
        "empty": (1, "nothing.jsonl"),
        "without a row that can be used": (1, "blank.jsonl"),
    }


def test_a_home_and_variables_in_paths(tmp_path, tokenizer, monkeypatch):
    write_lines(tmp_path / "a.jsonl", ["x"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NOWHERE", raising=False)
    prepare(["~/a.jsonl"], "$HOME/corpus", tokenizer)
    assert info(tmp_path / "corpus")["splits"]["train"]["documents"] == 1
    with pytest.raises(ConfigError, match="the variable NOWHERE is not set"):
        prepare(["~/a.jsonl"], "$NOWHERE/corpus", tokenizer)
    with pytest.raises(CorpusError, match="one inside the other"):
        prepare(["~"], "~/corpus", tokenizer, overwrite=True)


def test_no_tokenizer_is_trained_on_a_part_of_the_input(tmp_path, monkeypatch):
    file = tmp_path / "a.jsonl.zst"
    whole = write_cut_short(file, make_texts(20_000))

    def train_while_it_fails(rows, vocab_size):
        try:
            return train(rows, vocab_size)
        finally:
            file.write_bytes(whole)

    train = prepare_module._train
    monkeypatch.setattr(prepare_module, "_train", train_while_it_fails)
    with pytest.raises(BadInputError, match="cannot be read to its end"):
        prepare([file], tmp_path / "corpus", None, train_tokenizer=300)
    assert names(tmp_path) == ["a.jsonl.zst"]


def test_texts_without_tokens_are_empty(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    CorpusTokenizer.train(make_texts(), 300).save(tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    contents = json.loads(file.read_text())
    contents["normalizer"] = {"type": "Replace", "pattern": {"String": "z"}, "content": ""}
    file.write_text(json.dumps(contents))
    source = write_lines(tmp_path / "a.jsonl", ["zzz", "azz", "b"])
    report = prepare([source], tmp_path / "corpus", str(file), max_bad=1)
    assert report["bad"] == {"empty": 1}
    assert load_documents(tmp_path / "corpus")["tokens"].tolist() == [1, 1]


def test_nothing_to_train_on(tmp_path, tokenizer):
    file = write_lines(tmp_path / "a.jsonl", [])
    with pytest.raises(CorpusError, match="no documents to train on"):
        prepare([file], tmp_path / "corpus", tokenizer)
    assert names(tmp_path) == ["a.jsonl"]


def test_a_trained_tokenizer_is_saved_with_the_corpus(tmp_path):
    file = write_lines(tmp_path / "a.jsonl", make_texts(), b"{\n")
    prepare_corpus([file], tmp_path / "corpus", train_tokenizer=350, progress=False)
    assert CorpusTokenizer.load(tmp_path / "corpus").vocab_size == 350
    contents = json.loads((tmp_path / "corpus/tokenizer.json").read_text())
    contents["model"]["merges"].pop()
    (tmp_path / "corpus/tokenizer.json").write_text(json.dumps(contents))
    with pytest.raises(CorpusError, match="was changed after the corpus was made"):
        CorpusTokenizer.load(tmp_path / "corpus")


def test_the_tokens_of_marks_come_with_the_corpus(tmp_path, tokenizer):
    folder = tmp_path / "corpus"
    prepare([write_lines(tmp_path / "a.jsonl", make_texts())], folder, tokenizer)
    corpus, marks = Corpus(folder), [*MARKS, "", "***"]
    assert (corpus.tokenizer.bos, corpus.tokenizer.eos) == corpus.ends
    assert corpus.tokenizer.vocab_size == corpus.vocab_size
    expected = [corpus.tokenizer.encode_marks(mark).tolist() for mark in marks]
    assert [tokens.tolist() for tokens in corpus.encode_marks(marks)] == expected
    index = load_index(folder)
    del index["tokenizer"]["marks"]
    save_index(folder, index)  # as before they came
    assert [tokens.tolist() for tokens in Corpus(folder).encode_marks(marks)] == expected
    (folder / "tokenizer.json").unlink()
    assert [tokens.tolist() for tokens in corpus.encode_marks(marks[:-1])] == expected[:-1]
    for opened, texts in ((corpus, ["***"]), (Corpus(folder), MARKS)):
        with pytest.raises(CorpusError, match=r"tokenizer\.json cannot be read"):
            opened.encode_marks(texts)
    index["tokenizer"]["marks"] = {"***": [corpus.tokenizer.vocab_size]}
    save_index(folder, index)
    with pytest.raises(CorpusError, match="marks: there are only"):
        Corpus(folder)


def test_running_again(tmp_path, tokenizer, capfd):
    file = write_lines(tmp_path / "a.jsonl", make_texts(20))
    out = tmp_path / "new" / "corpus"
    report = prepare([file], out, tokenizer)
    before = (out / "corpus.json").stat().st_ino
    again = prepare_corpus([os.path.relpath(file)], out, tokenizer=tokenizer)
    assert again == report
    assert "is there already" in " ".join(capfd.readouterr().err.split())  # however it is wrapped
    with pytest.raises(CorpusError, match=r"its holdout, shard_bytes differ: .*--overwrite"):
        prepare([file], out, tokenizer, holdout=0.1, shard_bytes=100)
    write_lines(tmp_path / "a.jsonl", make_texts(21))
    with pytest.raises(CorpusError, match="its inputs differ"):
        prepare([file], out, tokenizer)
    assert (out / "corpus.json").stat().st_ino == before
    prepare([file], out, tokenizer, overwrite=True)
    assert info(out)["splits"]["train"]["documents"] == 21
    assert names(out.parent) == ["corpus"]


def test_a_failed_overwrite_keeps_the_old_corpus(tmp_path, tokenizer):
    prepare([write_lines(tmp_path / "a.jsonl", ["x"])], tmp_path / "corpus", tokenizer)
    with pytest.raises(BadInputError):
        prepare([write_lines(tmp_path / "b.jsonl", [""])], tmp_path / "corpus", tokenizer, overwrite=True)
    assert info(tmp_path / "corpus")["splits"]["train"]["documents"] == 1
    assert names(tmp_path) == ["a.jsonl", "b.jsonl", "corpus"]


def test_folders_that_are_not_to_be_written(tmp_path, tokenizer):
    file = write_lines(tmp_path / "a.jsonl", ["x"])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(CorpusError, match="is not a corpus: pick another folder"):
        prepare([file], tmp_path / "thesis", tokenizer, overwrite=True)
    with pytest.raises(CorpusError, match="one inside the other"):
        prepare([tmp_path], tmp_path / "corpus", tokenizer)
    with pytest.raises(CorpusError, match="cannot be written"):
        prepare([file], "/proc/corpus", tokenizer)
    (tmp_path / "empty").mkdir()
    prepare([file], tmp_path / "empty", tokenizer)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either --tokenizer"),
        ({"tokenizer": "t", "train_tokenizer": 300}, "either --tokenizer"),
        ({"train_tokenizer": 300, "holdout": 1.0}, "--holdout"),
        ({"train_tokenizer": 300, "max_bad": -1}, "--max-bad"),
        ({"train_tokenizer": 300, "max_bad": float("nan")}, "--max-bad"),
        ({"train_tokenizer": 300, "shard_bytes": 1 << 32}, "shards"),
        ({"train_tokenizer": 3}, "too small"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, message):
    file = write_lines(tmp_path / "a.jsonl", ["x"])
    with pytest.raises(ConfigError, match=message):
        prepare_corpus([file], tmp_path / "corpus", progress=False, **options)
    assert names(tmp_path) == ["a.jsonl"]


def test_damaged_corpora_are_named(tmp_path, tokenizer):
    with pytest.raises(CorpusError, match=r"is not a corpus \(no corpus.json\)"):
        info(tmp_path)
    (tmp_path / "corpus.json").write_text('{"format": 99}')
    with pytest.raises(CorpusError, match="has format 99, this version reads 2"):
        info(tmp_path)
    (tmp_path / "corpus.json").write_text('{"for')
    with pytest.raises(CorpusError, match="cannot be read"):
        info(tmp_path)
    with pytest.raises(CorpusError, match=r"documents\.npy cannot be read"):
        load_documents(tmp_path)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 4]))


def test_what_is_damaged_in_a_shard_is_refused_and_the_rest_is_read(tmp_path, tokenizer):
    corpus = tmp_path / "corpus"
    prepare([write_lines(tmp_path / "a.jsonl", make_texts(40))], corpus, tokenizer, shard_bytes=2000)
    whole = Corpus(corpus)
    texts, tokens = [[read(n) for n in range(40)] for read in (whole.text, whole.tokens)]
    shard = corpus / "train" / whole._shard_files[1]
    document = whole._first_document[1]
    offsets = np.fromfile(shard, "<u4", 3)[1:]
    flip(shard, int(offsets[1]) - 1)  # the last token
    damaged = Corpus(corpus)
    with pytest.raises(CorpusError, match=rf"tokens of documents {document} is damaged \(shard\.00001\.mds\)"):
        damaged.locate(np.arange(40))
    assert damaged.text(document) == texts[document]
    for other in {*range(40)} - {document}:
        assert (damaged.tokens(other) == tokens[other]).all() and damaged.text(other) == texts[other]
    flip(shard, int(offsets[1]) - 1)
    flip(shard, int(offsets[0]) + 8)  # the first character
    damaged = Corpus(corpus)
    with pytest.raises(CorpusError, match=rf"text of documents {document} is damaged"):
        damaged.text(document)
    assert (damaged.tokens(document) == tokens[document]).all()
    shard.unlink()
    with pytest.raises(CorpusError, match=r"shard\.00001\.mds cannot be read.*prepare --overwrite"):
        Corpus(corpus).tokens(document)


@pytest.mark.parametrize("file", ["corpus.json", "train/index.json", "train/documents.npy", "tokenizer.json"])
def test_an_index_that_is_damaged_anywhere_is_refused(tmp_path, tokenizer, file):
    corpus = tmp_path / "corpus"
    prepare([write_lines(tmp_path / "a.jsonl", make_texts(40))], corpus, tokenizer, shard_bytes=2000)
    whole = Corpus(corpus)
    before, texts = whole.index, [whole.tokenizer.encode_batch([whole.text(n)])[0].tolist() for n in range(40)]
    size = (corpus / file).stat().st_size
    for at in np.random.default_rng(0).integers(0, size, 25).tolist():
        flip(corpus / file, at)
        with suppress(CorpusError):
            # A flip in the white space of JSON changes nothing.
            read = Corpus(corpus)
            assert read.index == before
            assert [read.tokenizer.encode_batch([read.text(n)])[0].tolist() for n in range(40)] == texts
        flip(corpus / file, at)
    contents = (corpus / file).read_bytes()
    for stop in (0, 1, size // 2, size - 2):
        (corpus / file).write_bytes(contents[:stop])
        with pytest.raises(CorpusError):
            Corpus(corpus).tokenizer  # noqa: B018


CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from streamdocs.corpus import prepare_corpus
prepare_corpus([sys.argv[1]], sys.argv[2], tokenizer=sys.argv[3], shard_bytes=2000, progress=False)
"""


@pytest.fixture
def unfinished(tmp_path, tokenizer):
    """Processes in the middle of writing ``killed`` and ``stopped``, their input being a pipe that stays open."""
    lines = write_lines(tmp_path / "a.jsonl", make_texts(2500))
    children = {}
    with ExitStack() as stack:
        for name in ("killed", "stopped"):
            os.mkfifo(tmp_path / f"{name}.jsonl")
            command = [sys.executable, "-c", CHILD, str(tmp_path / f"{name}.jsonl"), str(tmp_path / name), tokenizer]
            log = stack.enter_context(open(tmp_path / f"{name}.log", "w"))
            children[name] = subprocess.Popen(command, stderr=log)
            stack.callback(children[name].wait)
            stack.callback(children[name].kill)
        for name, child in children.items():
            pipe = stack.enter_context(open(tmp_path / f"{name}.jsonl", "wb", buffering=0))
            pipe.write(Path(lines).read_bytes())
            while not list(tmp_path.glob(f".{name}.unfinished-*/train/shard.00001.mds")):
                assert child.poll() is None, (tmp_path / f"{name}.log").read_text()
                time.sleep(0.05)
        yield children


def test_interrupted_and_killed_runs(tmp_path, tokenizer, unfinished):
    lines = tmp_path / "a.jsonl"
    unfinished["stopped"].send_signal(signal.SIGINT)
    unfinished["stopped"].wait(30)
    assert "KeyboardInterrupt" in (tmp_path / "stopped.log").read_text()
    assert not list(tmp_path.glob(".stopped*"))
    assert not (tmp_path / "stopped").exists()

    # While its process lives, nobody touches the folder; and the two do not get into each other's way.
    prepare([lines], tmp_path / "killed", tokenizer)
    assert len(list(tmp_path.glob(".killed.unfinished-*"))) == 1
    unfinished["killed"].kill()
    unfinished["killed"].wait()
    prepare([lines], tmp_path / "killed", tokenizer, overwrite=True)
    assert not list(tmp_path.glob(".killed*"))
    assert info(tmp_path / "killed")["splits"]["train"]["documents"] == 2500
