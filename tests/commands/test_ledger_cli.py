"""The commands around the ledger, as a user types them."""

import json
import shutil

import pytest
import yaml

from conftest import generate, make_corpus, make_dataset, make_run, make_texts, read_only, rewrite, write_run_file
from streamdocs import Stitch, StreamingMegadocDataset
from streamdocs.commands.cli import app
from streamdocs.errors import StoreError
from streamdocs.store import LmdbStore

RECIPE = Stitch(generations=2, per_round=1)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command that ends with exit code ``code``; what it prints, on both streams together, as one line."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*command: object, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["streamdocs", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            app()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed
        return " ".join((printed.out + printed.err).split())

    return call


@pytest.fixture
def run_file(small_corpus, store, tmp_path):
    """Of a run that has sealed three windows."""
    generate(make_run(small_corpus, RECIPE), store)
    dataset = make_dataset(small_corpus, store, recipe=RECIPE)
    dataset.ledger.manifest(2)
    return write_run_file(tmp_path / "run.yaml", dataset)


def test_from_export_to_import_and_back(run, run_file, small_corpus, tmp_path):
    file, copied = tmp_path / "run.ledger", tmp_path / "copied"
    assert "run.ledger: 3 windows" in run("ledger", "export", run_file, file)
    shutil.copytree(tmp_path / "store", copied)
    other = write_run_file(tmp_path / "other.yaml", make_dataset(small_corpus, LmdbStore(copied), recipe=RECIPE))
    assert "the same 3 windows" in run("ledger", "diff", file, other)
    fields = yaml.safe_load(run_file.read_text())
    fresh = tmp_path / "fresh.yaml"  # which leaves it to the store who the generator is, and there is none yet
    fresh.write_text(yaml.safe_dump({**fields, "store": "fresh", "generator": {}}))
    assert "3 of them, the first 0, lack generations" in run("ledger", "import", fresh, file)
    assert "missing" in run("ledger", "verify", fresh, code=1)
    assert "the same 3 windows" in run("ledger", "diff", fresh, run_file)
    third = write_run_file(
        tmp_path / "third.yaml", make_dataset(small_corpus, LmdbStore(copied), recipe=RECIPE), name="x"
    )
    assert "name: and x" in run("ledger", "diff", run_file, third, code=1)
    assert "error: the file belongs to another run: name: in the file, x here" in run(
        "ledger", "import", third, file, code=1
    )
    assert "error: " in run("ledger", "diff", tmp_path / "nothing", file, code=1)


def test_of_several_streams_it_is_asked_which(run, run_file, small_corpus, tmp_path):
    fields = yaml.safe_load(run_file.read_text())
    synthetic = {name: {"share": "1/4", "recipe": fields["recipe"]} for name in ("one", "two")}
    several = {**fields, "streams": {"web": {"share": "1/2"}, **synthetic}}
    del several["recipe"], several["mix"]["synthetic_fraction"]
    path, file = tmp_path / "several.yaml", tmp_path / "one.ledger"
    path.write_text(yaml.safe_dump(several))
    for command in (("export", path, file), ("diff", path, path)):
        assert "say which stream, with --stream: one, two" in run("ledger", *command, code=1)
    assert "one.ledger: 0 windows" in run("ledger", "export", path, file, "--stream", "one")
    assert "the same 0 windows" in run("ledger", "diff", path, file, "--stream", "one")
    assert "of two streams of a run, two and one" in run("ledger", "diff", path, file, "--stream", "two", code=1)
    assert "0 windows are in store" in run("ledger", "import", path, file)


def test_verify_reseal_and_audit(run, run_file, small_corpus, store, tmp_path):
    dataset = make_dataset(small_corpus, store, recipe=RECIPE)
    assert "0-2 │ 0:96" in run("ledger", "verify", run_file)
    lost = dataset.ledger.manifest(1).units.documents.tolist()
    document = next(each for each in lost if each not in dataset.ledger.manifest(0).units.documents)
    rewrite(dataset, document, 1, lambda tokens: None)
    said = run("ledger", "verify", run_file, code=1)
    assert f"window 1: document {document}, round 1, generation 0: missing" in said
    assert f"1 missing of documents {document}" in said
    said = run("ledger", "reseal", run_file)
    assert "windows 1 to 2 (" in said and "states of positions up to 32 go on as they are" in said
    assert "nothing to seal anew" in run("ledger", "reseal", run_file)
    assert "windows 1 to 2 (" in run("inspect", run_file)
    assert "windows 1 to 2 (" in run("ledger", "verify", run_file)
    as_json = tmp_path / "audit.json"
    assert "windows 1 to 2 (" in run("audit", run_file, "--positions", "0:32", "--json", as_json)
    assert json.loads(as_json.read_text())["positions"] == [0, 32]
    for option in ("--json", "--plot"):
        nowhere = tmp_path / "nowhere" / "audit.png"
        assert "cannot be written" in run("audit", run_file, "--positions", "0:32", option, nowhere, code=1)
    assert "ask for some of 0:32, of the 1 sealed windows" in run("audit", run_file, "--positions", ":40", code=1)
    assert "window 7 cannot be sealed anew: 1 windows are sealed" in run(
        "ledger", "reseal", run_file, "--from", 7, code=1
    )


@pytest.mark.parametrize(
    "command",
    [("inspect",), ("audit",), ("ledger", "verify"), ("ledger", "export"), ("ledger", "diff"), ("ledger", "reseal")],
    ids=" ".join,
)
def test_a_look_at_a_mistyped_store_makes_none(run, run_file, tmp_path, command):
    fields = yaml.safe_load(run_file.read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**fields, "store": "stroe"}))
    files = {"export": [tmp_path / "x.ledger"], "diff": [run_file]}.get(command[-1], [])
    assert "there is no store in" in run(*command, tmp_path / "other.yaml", *files, code=1)
    assert not (tmp_path / "stroe").exists()


def test_a_store_that_cannot_be_written_is_looked_at(run, as_nobody):
    corpus, store = make_corpus(as_nobody, make_texts(30)), LmdbStore(as_nobody / "store")
    generate(make_run(corpus, RECIPE), store)
    dataset = make_dataset(corpus, store, recipe=RECIPE)
    dataset.ledger.manifest(2)
    path = write_run_file(as_nobody / "run.yaml", dataset)
    del dataset, store
    with read_only(as_nobody / "store"):
        assert "3 windows of 32 sequences are sealed" in run("inspect", path, "--position", 5)
        assert "sequences" in run("audit", path)
        assert "0-2 │ 0:96" in run("ledger", "verify", path)
        assert "3 windows" in run("ledger", "export", path, as_nobody / "x.ledger")
        assert "is read-only here" in run("ledger", "reseal", path, "--from", 1, code=1)
        dataset = StreamingMegadocDataset.from_run_file(path, batch_size=4)
        assert len(dataset[95]["input_ids"]) == 64  # what is sealed
        with pytest.raises(StoreError, match="is read-only here"):
            dataset[96]
