"""Exported ledgers of runs whose rounds are planned: the plans are not in them, and that is told."""

import shutil

import pytest
import yaml
from typer.testing import CliRunner

from conftest import generate, make_corpus, make_dataset, make_texts, write_run_file
from streamdocs import ErrorRule, Rephrase
from streamdocs.commands.cli import commands
from streamdocs.errors import LedgerFileError, StoreError
from streamdocs.learning.hard import HardDocuments
from streamdocs.store import LmdbStore
from students import lose

DOCUMENTS = 60
RECIPE = Rephrase(generations=2, per_round=1, web=False, errors=ErrorRule(share="1/4", cap=4))


def call(*arguments: object) -> str:
    return " ".join(CliRunner().invoke(commands, map(str, arguments), catch_exceptions=False).output.split())


def open_dataset(corpus, store):
    return make_dataset(corpus, store, recipe=RECIPE, synthetic_fraction="1/2")


@pytest.fixture
def run_files(tmp_path, monkeypatch):
    """Of a run that has read of two rounds; of the same over a copy with other windows; and over an empty store."""
    monkeypatch.setenv("COLUMNS", "300")
    corpus, stores = make_corpus(tmp_path, make_texts(DOCUMENTS)), {}
    stores["own"] = LmdbStore(tmp_path / "own")
    blocks, dataset = -(-DOCUMENTS // 16), open_dataset(corpus, stores["own"])
    generate(dataset.run, stores["own"], blocks)
    lose(dataset, 6, lambda segment: 5.0 if segment.document % 5 == 0 else 2.0)
    generate(dataset.run, stores["own"], 2 * blocks, first=blocks)
    assert len(dataset.run.stream().scope.hard.of_round(1).hard)
    shutil.copytree(tmp_path / "own", tmp_path / "copy")
    dataset[20 * 32]
    assert {round for window in range(21) for round in dataset.ledger.manifest(window).units.rounds.tolist()} == {0, 1}
    stores |= {name: LmdbStore(tmp_path / name) for name in ("copy", "empty")}
    files = {name: write_run_file(tmp_path / f"{name}.yaml", open_dataset(corpus, stores[name])) for name in stores}
    for file in files.values():
        fields = yaml.safe_load(file.read_text())
        fields["recipe"] |= {"web": False, "errors": {"share": "1/4", "cap": 4}}
        file.write_text(yaml.safe_dump(fields))
    return files


def test_a_copy_of_the_store_takes_it_and_another_one_refuses_it(run_files, tmp_path):
    file = tmp_path / "run.ledger"
    printed = call("ledger", "export", run_files["own"], file)
    assert "does not hold the plans of rounds" in printed and "into this store, or a copy, alone" in printed
    printed = call("ledger", "import", run_files["copy"], file)
    assert "21 windows are in store" in printed and "by those of the store" in printed and "lack" not in printed
    assert "the same 21 windows" in call("ledger", "diff", run_files["copy"], run_files["own"])
    with pytest.raises(StoreError, match=r"round 1 has no plan in store .*; an exported ledger holds no plans"):
        call("ledger", "import", run_files["empty"], file)
    assert "only one of them has windows 0 to 20" in call("ledger", "diff", run_files["empty"], file)


def test_a_store_with_other_plans_holds_other_texts_and_refuses_it(run_files, tmp_path):
    """Somebody who begins anew plans anew, of what is reported there: nothing."""
    file = tmp_path / "run.ledger"
    call("ledger", "export", run_files["own"], file)
    corpus, store = tmp_path / "corpus", LmdbStore(tmp_path / "empty")
    run = open_dataset(corpus, store).run
    assert not len(HardDocuments(run, run.stream(), store).plan(1).hard)
    generate(run, store, 2 * -(-DOCUMENTS // 16))
    with pytest.raises(LedgerFileError, match=r"sealed with other generations of documents .*: import into a copy"):
        call("ledger", "import", run_files["empty"], file)
