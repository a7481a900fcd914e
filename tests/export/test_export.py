"""Exports: what was read and what was generated come back as they were, by readers of each format."""

import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from streaming import StreamingDataset

from conftest import STITCH, generate, make_corpus, make_dataset, make_run, make_texts, read_only, write_run_file
from streamdocs import StreamingMegadocDataset
from streamdocs.commands.exporting.run import export_run
from streamdocs.commands.ledger import export as ledger_export
from streamdocs.errors import ConfigError, FingerprintError, LedgerFileError
from streamdocs.export import generated as generated_rows
from streamdocs.export import job as job_module
from streamdocs.export import read as read_rows
from streamdocs.export.card import Licences
from streamdocs.export.formats import FORMATS
from streamdocs.store import LmdbStore

LENGTH, SEALED = 64, 3 * 32


@pytest.fixture(scope="module")
def world(small_corpus, tmp_path_factory):
    """A run of which three windows are sealed: its folder with run.yaml, and its dataset."""
    folder = tmp_path_factory.mktemp("export")
    store = LmdbStore(folder / "store")
    generate(make_run(small_corpus, STITCH), store)
    dataset = make_dataset(small_corpus, store)
    _ = dataset[SEALED - 1]
    write_run_file(folder / "run.yaml", dataset)
    return folder, dataset


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of ten sequences, and of 64 items."""
    monkeypatch.setattr(read_rows, "_MOST_TOKENS", 10 * LENGTH)
    monkeypatch.setattr(generated_rows, "_ITEMS", 64)


def exported(run_file: Path, out: Path, format: str = "parquet", positions=None, ledgers=(), **options) -> Path:
    options = {"generated": False, "stream": None, "sources": False, **options}
    licences = options.pop("licences", Licences())
    export_run(run_file, format, out, positions, [*ledgers], licences, **options)
    return out


def table_of(out: Path) -> pa.Table:
    return pq.read_table(out / "data")


def tokens_of(format: str, out: Path) -> list[np.ndarray]:
    """The tokens of each row, by a reader that knows nothing of streamdocs."""
    if format == "parquet":
        return [np.array(row) for row in pq.read_table(out / "data", columns=["input_ids"])["input_ids"].to_pylist()]
    if format == "jsonl":
        lines = (line for path in sorted((out / "data").glob("*.jsonl")) for line in path.read_text().splitlines())
        return [np.array(json.loads(line)["input_ids"]) for line in lines]
    if format == "hf":
        import datasets

        return [np.array(row) for row in datasets.load_dataset(str(out), split="train")["input_ids"]]
    if format == "mds":
        return [row["input_ids"] for row in StreamingDataset(local=str(out), batch_size=1, shuffle=False)]
    pytest.importorskip("megatron")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDataset
    dataset = IndexedDataset(str(out / "tokens"))
    assert dataset.document_indices.tolist() == list(range(len(dataset) + 1))
    return [dataset[row].copy() for row in range(len(dataset))]


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_read_comes_back(world, tmp_path, small_parts, format):
    folder, dataset = world
    out = exported(folder / "run.yaml", tmp_path / "out", format, "5:70")
    found = tokens_of(format, out)
    expected = [dataset[position]["input_ids"].numpy() for position in range(5, 70)]
    assert len(found) == 65 and all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not list(out.rglob(".*unfinished*"))


@pytest.mark.parametrize("format", ["parquet", "mds", "megatron"])
def test_what_was_generated_comes_back(world, tmp_path, small_parts, format):
    folder, dataset = world
    out = exported(folder / "run.yaml", tmp_path / "out", format, generated=True)
    scope, tokenizer = dataset.run.stream().scope, dataset.corpus.tokenizer
    found = tokens_of(format, out)
    assert len(found) == 200
    if format == "parquet":
        rows = table_of(out).to_pylist()
        assert all(np.array_equal(row["input_ids"], tokenizer.encode_batch([row["text"]])[0]) for row in rows)
        assert {row["key"] for row in rows} == {scope.key(number, 0).digest.hex() for number in range(100)}
        assert [row["document"] for row in rows][::2] == dataset.run.stream().order.order(0).tolist()


def test_provenance_says_what_explain_does(world, tmp_path):
    folder, dataset = world
    out = exported(folder / "run.yaml", tmp_path / "out", "parquet")
    rows = table_of(out).to_pylist()
    assert [row["position"] for row in rows] == list(range(SEALED))
    digests = {dataset.corpus.document_digest(number).hex(): number for number in range(100)}
    for row in rows[:40]:
        sample, segments = dataset[row["position"]], dataset.explain(row["position"])
        assert row["synthetic"] == sample["synthetic"] and row["stream"] == dataset.streams[int(sample["stream"])]
        assert row["text"] == dataset.corpus.tokenizer.decode(sample["input_ids"].numpy())
        told = [(each["kind"], each["start"], each["stop"], each["key"], each["number"]) for each in row["segments"]]
        assert told == [(s.kind, s.start, s.stop, s.key, s.generation and s.generation[1]) for s in segments]
        assert [digests[each["digest"]] for each in row["segments"]] == [each.document for each in segments]


@pytest.mark.parametrize("format", ["parquet", "jsonl", "mds", "megatron"])
def test_what_is_missing_of_an_export_is_written_again(world, tmp_path, small_parts, monkeypatch, format):
    """After a kill at any moment of the end, and where somebody deleted a part of it."""
    folder, _ = world
    whole, out = (exported(folder / "run.yaml", tmp_path / name, format) for name in ("whole", "out"))
    wanted = tokens_of(format, whole)

    def again() -> None:
        exported(folder / "run.yaml", out, format)
        assert all(np.array_equal(*pair) for pair in zip(tokens_of(format, out), wanted, strict=True))
        assert json.loads((out / "export.json").read_text())["complete"]

    with monkeypatch.context() as patch:
        patch.setattr("streamdocs.export.job.CARD", "none/README.md")
        shutil.rmtree(out)
        with pytest.raises(ConfigError, match="cannot be written"):  # after the last slice, before it is complete
            exported(folder / "run.yaml", out, format)
    again()
    part = {"mds": out / "00001", "megatron": out / "tokens.bin"}.get(format)
    part = part or next((out / "data").glob("part-00001.*"))
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    again()


def test_two_that_export_into_one_folder(world, tmp_path):
    folder, _ = world
    out = exported(folder / "run.yaml", tmp_path / "out")
    with job_module._alone(out), pytest.raises(ConfigError, match="another process is writing there"):
        exported(folder / "run.yaml", out)
    assert len(table_of(exported(folder / "run.yaml", out))) == SEALED


def test_it_goes_on_where_it_was_broken_off(world, tmp_path, small_parts, monkeypatch):
    folder, _ = world
    whole = exported(folder / "run.yaml", tmp_path / "whole")
    write, written = FORMATS["parquet"].write, []

    def breaks(out, number, table):
        if number == 4:
            raise KeyboardInterrupt
        written.append(number)
        write(out, number, table)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FORMATS["parquet"], "write", breaks)
        exported(folder / "run.yaml", tmp_path / "out", positions=":90")
    assert written == [0, 1, 2, 3] and not (tmp_path / "out" / "README.md").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "data").glob("*.parquet")}
    out = exported(folder / "run.yaml", tmp_path / "out")  # positions are those that it began with
    assert all((out / "data" / name).stat().st_mtime_ns == when for name, when in before.items())
    assert table_of(out).equals(table_of(whole).slice(0, 90))
    with pytest.raises(ConfigError, match="another export, of another positions"):
        exported(folder / "run.yaml", out, positions="0:50")
    with pytest.raises(ConfigError, match="another export, of another format"):
        exported(folder / "run.yaml", out, "jsonl")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty, and no export"):
        exported(folder / "run.yaml", tmp_path / "other")


def test_from_an_exported_ledger_over_a_store_that_is_only_read(as_nobody):
    corpus, store = make_corpus(as_nobody, make_texts(60)), LmdbStore(as_nobody / "store")
    generate(make_run(corpus, STITCH), store)
    shutil.copytree(as_nobody / "store", as_nobody / "shared")  # with generations, and no windows
    dataset = make_dataset(corpus, store)
    _ = dataset[SEALED - 1]
    run_file = write_run_file(as_nobody / "run.yaml", dataset)
    whole = exported(run_file, as_nobody / "whole")
    ledger_export(run_file, as_nobody / "run.ledger")
    run_file.write_text(run_file.read_text().replace(str(as_nobody / "store"), str(as_nobody / "shared")))
    with read_only(as_nobody / "shared"):
        with pytest.raises(ConfigError, match="ask for some of 0:0"):
            exported(run_file, as_nobody / "none")
        out = exported(run_file, as_nobody / "out", ledgers=[as_nobody / "run.ledger"])
        exported(run_file, as_nobody / "all", generated=True)
    assert table_of(out).equals(table_of(whole))
    other = write_run_file(as_nobody / "other.yaml", dataset, shuffle_seed=18)
    with pytest.raises(FingerprintError, match="shuffle_seed"):
        exported(other, as_nobody / "none", ledgers=[as_nobody / "run.ledger"])
    with pytest.raises(LedgerFileError, match="give one for each"):
        exported(run_file, as_nobody / "none", ledgers=[as_nobody / "run.ledger"] * 2)


def test_the_card_says_recipe_models_counts_and_licences(world, tmp_path):
    folder, _ = world
    licences = Licences("cc-by-4.0", "cc0-1.0", "apache-2.0")
    out = exported(folder / "run.yaml", tmp_path / "out", "hf", generated=True, licences=licences)
    card = (out / "README.md").read_text()
    front, body = card.removeprefix("---\n").split("---\n", 1)
    assert "license: cc-by-4.0" in front and "data/train-*.parquet" in front and "- synthetic" in front
    for said in ("200 generations", "| synthetic | 3/4 | stitch", "| default | template 1 |", "cc0-1.0", "apache-2.0"):
        assert said in body, said
    silent = (exported(folder / "run.yaml", tmp_path / "silent") / "README.md").read_text()
    assert "license: unknown" in silent and silent.count("not said") == 3 and "positions 0 to 95" in silent


def test_the_page_has_every_format():
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == sorted(FORMATS, key=page.index)
    assert all(form.data in page for form in FORMATS.values())


def test_what_cannot_be_is_said(world, tmp_path, small_corpus):
    folder, _ = world
    with pytest.raises(ConfigError, match="--to csv: it is one of parquet"):
        exported(folder / "run.yaml", tmp_path / "out", "csv")
    with pytest.raises(ConfigError, match="ask for some of 0:96, of the 3 sealed windows"):
        exported(folder / "run.yaml", tmp_path / "out", positions="0:97")
    with pytest.raises(ConfigError, match="positions 'all': give the first"):
        exported(folder / "run.yaml", tmp_path / "out", positions="all")
    with pytest.raises(ConfigError, match="--generated is all that was generated"):
        exported(folder / "run.yaml", tmp_path / "out", positions="0:9", generated=True)
    with pytest.raises(ConfigError, match="give --generated too"):
        exported(folder / "run.yaml", tmp_path / "out", sources=True)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    web = f"{{corpus: {small_corpus}, mix: {{synthetic_fraction: 0, max_seq_len: 64, window: 32}}}}"
    (tmp_path / "web.yaml").write_text(web)
    with pytest.raises(ConfigError, match="nothing is generated where nothing synthetic is read"):
        exported(tmp_path / "web.yaml", tmp_path / "out", generated=True)
    out = exported(tmp_path / "web.yaml", tmp_path / "out")
    assert {row["stream"] for row in table_of(out).to_pylist()} == {"web"}


def test_two_streams_with_fillers_need_two_ledgers(small_corpus, tmp_path):
    recipes = {name: {"name": "rephrase", "generations": 2} for name in ("one", "two")}
    streams = {"web": {"share": "1/2"}, **{name: {"share": "1/4", "recipe": each} for name, each in recipes.items()}}
    store = LmdbStore(tmp_path / "store")
    generate(make_run(small_corpus, streams, when_behind="web"), store, 1)
    mix = {"max_seq_len": 64, "window": 32, "shuffle_seed": 17, "when_behind": "web"}
    writer = {"model": "template", "revision": "1"}
    fields = {"corpus": str(small_corpus), "store": "store", "generator": writer, "mix": mix, "streams": streams}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    dataset = StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=1)
    _ = dataset[4 * 32 - 1]
    whole = exported(tmp_path / "run.yaml", tmp_path / "whole")
    rows = table_of(whole).to_pylist()
    assert {row["stream"] for row in rows} == {"web", "one", "two"}
    assert any(row["stream"] == "one" and not row["synthetic"] for row in rows)  # filled
    files = [tmp_path / "one.ledger", tmp_path / "two.ledger"]
    for path in files:
        ledger_export(tmp_path / "run.yaml", path, path.stem)
    assert table_of(exported(tmp_path / "run.yaml", tmp_path / "out", ledgers=files)).equals(table_of(whole))
    with pytest.raises(LedgerFileError, match="the exported ledgers are of one, the run has one, two"):
        exported(tmp_path / "run.yaml", tmp_path / "none", ledgers=files[:1])
    only = table_of(exported(tmp_path / "run.yaml", tmp_path / "only", generated=True, stream="two", sources=True))
    assert {row["stream"] for row in only.to_pylist()} == {"two"} and all(only["source"].to_pylist())


def test_shares_that_moved_are_those_of_the_ledgers(as_nobody):
    corpus, store = make_corpus(as_nobody, make_texts(60)), LmdbStore(as_nobody / "store")
    recipes = {name: {"name": "rephrase", "generations": 2} for name in ("one", "two")}
    streams = {"web": {"share": "1/2"}, **{name: {"share": "1/4", "recipe": each} for name, each in recipes.items()}}
    mix = {"max_seq_len": 64, "window": 32, "shuffle_seed": 17, "controller": "ucb", "epoch_size": 320}
    generate(make_run(corpus, streams, controller="ucb"), store)
    shutil.copytree(as_nobody / "store", as_nobody / "shared")
    writer = {"model": "template", "revision": "1"}
    fields = {"corpus": str(corpus), "store": "store", "generator": writer, "mix": mix, "streams": streams}
    run_file = as_nobody / "run.yaml"
    run_file.write_text(yaml.safe_dump(fields))
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=1)
    for batch in dataset:  # and report that one stream is learned, and the other is not
        row = {name: column.unsqueeze(0) for name, column in batch.items()}
        learned = 5 * (1 + row["position"].float() / 32) ** -0.5
        dataset.report(row, torch.where(row["stream"] == 1, learned, 5.0))
    assert dataset.run.decisions.of(9).shares[0] > dataset.run.decisions.of(0).shares[0]
    whole = exported(run_file, as_nobody / "whole")
    for name in recipes:
        ledger_export(run_file, as_nobody / f"{name}.ledger", name)
    run_file.write_text(yaml.safe_dump({**fields, "store": "shared"}))
    with read_only(as_nobody / "shared"):
        files = [as_nobody / f"{name}.ledger" for name in recipes]
        out = exported(run_file, as_nobody / "out", ledgers=files)
    assert table_of(out).equals(table_of(whole))
