"""What pages are of: a run that begins, goes on, is replaced or is only read; or its exported ledgers."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from conftest import generate, read_only
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.auditing.looking import open_stored
from streamdocs.errors import StreamdocsError
from streamdocs.generations.newest import Newest
from streamdocs.ledger.file import export_ledger
from streamdocs.store import LmdbStore
from streamdocs.view.facts import Course, Facts
from streamdocs.view.opening import open_run
from streamdocs.view.pages.live import live
from streamdocs.view.serve import View
from viewing import MEGADOCS, SIGNS, answered, make_viewed, shown, viewed, words


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    return make_viewed(tmp_path_factory.mktemp("viewed"))


def test_over_an_exported_ledger_what_is_not_there_is_said(tmp_path):
    run_file = make_viewed(tmp_path, megadocs={"share": "3/4", "recipe": MEGADOCS})
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    export_ledger(dataset.ledgers["megadocs"]).save(tmp_path / "run.ledger")
    accounts = {position: dataset.explain(position) for position in range(64)}
    both = next(at for at, each in accounts.items() if {"rephrase", "web"} <= {one.kind for one in each})
    shutil.rmtree(tmp_path / "store")
    with viewed(run_file, tmp_path / "run.ledger") as view, httpx.Client(base_url=view.url, timeout=30) as client:
        assert "6 windows" in words(shown(client, ""))
        page = words(shown(client, f"position?at={both}"))
        for each in accounts[both]:
            if each.kind == "rephrase":
                assert f"[{each.stop - each.start} tokens that are not here]" in page and each.key in page
            if each.kind == "web":
                tokens = dataset.corpus.tokens(each.document)[each.offset :][: each.stop - each.start]
                assert dataset.corpus.tokenizer.decode(tokens).translate(SIGNS) in page
        assert "An exported ledger has no texts" in shown(client, "document?number=3&stream=megadocs")
        assert client.get("generation?number=3&round=0&which=0").status_code == 404
        for _ in range(50):
            page = words(shown(client, ""))
            if "Lead over training" in page:
                break
        assert "not how it was written" in page and "Nothing was rejected" not in page and "Written so far" not in page
    assert not (tmp_path / "store").exists()


def test_a_ledger_without_the_plans_that_it_needs_says_so(run_file, tmp_path):
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    files = [tmp_path / name for name in dataset.ledgers]
    for file in files:
        export_ledger(dataset.ledgers[file.name]).save(file)
    with pytest.raises(StreamdocsError, match=r"plan.*own store is looked at"):
        View(run_file, files)


@pytest.mark.parametrize(("name", "said"), [("nowhere", "nowhere cannot be read"), ("run.yaml", "no exported ledger")])
def test_a_ledger_that_cannot_be_shown_is_told_before_anything_is_served(run_file, name, said):
    with pytest.raises(StreamdocsError, match=said):
        View(run_file, [run_file.parent / name])


def test_every_stream_needs_its_ledger_and_each_of_this_run(run_file, tmp_path):
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    export_ledger(dataset.ledgers["megadocs"]).save(tmp_path / "one")
    with pytest.raises(StreamdocsError, match="none of problems is here"):
        View(run_file, [tmp_path / "one"])
    other = yaml.safe_load(run_file.read_text()) | {"corpus": str(run_file.parent / "corpus")}
    other["mix"]["window"] = 16
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(StreamdocsError, match=f"{tmp_path / 'one'}: "):
        View(tmp_path / "run.yaml", [tmp_path / "one"])


def test_a_page_whose_parts_are_not_equally_new_does_not_contradict_itself(run_file, tmp_path):
    opened = open_run(run_file, (), tmp_path)
    now = Facts.of(opened).now(opened)
    course = Course(mixed={"megadocs": []}, shares={}, losses={}, held_out=[])
    page = words("".join(map(str, live(now, course, Newest({}, {}), "an epoch"))))
    assert "Sealed6 windows" in page and "No window is sealed" not in page and "Nothing is written" not in page
    gone = replace(now.streams[0], servers={"one": 0.0})
    page = words("".join(map(str, live(replace(now, streams=[gone]), None, None, "an epoch"))))
    assert "none at work; one that did not say that it ended was last heard of at 1970-01-01" in page


def test_a_run_that_has_not_begun_appears_when_it_has(run_file, tmp_path):
    later = tmp_path / "run.yaml"
    later.write_text(run_file.read_text())
    with viewed(later) as view, httpx.Client(base_url=view.url, timeout=30) as client:
        answer = client.get("")
        assert answer.status_code == 503 and "there is no store" in words(answer.text)
        assert 'http-equiv="refresh"' in answer.text and not (tmp_path / "store").exists()
        shutil.copytree(run_file.parent / "store", tmp_path / "store")
        assert "6 windows" in words(shown(client, ""))
        assert "Position 3" in shown(client, "position?at=3")


def test_a_store_that_is_replaced_or_taken_away_is_not_shown_any_more(run_file, tmp_path):
    (tmp_path / "made").mkdir()
    other = make_viewed(tmp_path / "made", windows=2)  # the same run, of which less is sealed
    shutil.copytree(run_file.parent / "store", tmp_path / "store")
    fields = yaml.safe_load(run_file.read_text())
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    with viewed(tmp_path / "run.yaml") as view, httpx.Client(base_url=view.url, timeout=30) as client:

        def sealed(windows: str) -> None:
            for _ in range(100):
                page = words(shown(client, ""))
                if windows in page and "counted" not in page:
                    return
                time.sleep(0.05)
            pytest.fail(page)

        sealed("6 windows")
        shown(client, "position?at=150")
        shutil.rmtree(tmp_path / "store")
        for address in ("", "position?at=3"):
            for _ in range(100):  # it is still being seen
                if (answer := client.get(address)).status_code == 503:
                    break
                time.sleep(0.05)
            said = words(answer.text)
            assert answer.status_code == 503 and "was replaced or taken away: there is no store in" in said
        shutil.copytree(other.parent / "store", tmp_path / "store")
        sealed("2 windows")
        assert answered(client, "position?at=150").status_code == 404
        (tmp_path / "store").rename(tmp_path / "moved")
        shutil.copytree(run_file.parent / "store", tmp_path / "store")  # with nobody looking in between
        assert "Position 150" in shown(client, "position?at=150")
        sealed("6 windows")
        fields["streams"]["megadocs"]["recipe"]["rounds"] = 4  # the file says another run now
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
        sealed("120 documents × rounds of 240")


def test_a_store_that_nobody_here_may_write_is_looked_at(as_nobody):
    (as_nobody / "made").mkdir()
    made, run_file = make_viewed(as_nobody / "made", windows=2), as_nobody / "shared" / "run.yaml"
    shutil.copytree(made.parent / "store", run_file.parent / "store")  # which nobody here has open
    shutil.copy(made, run_file)
    with (
        read_only(run_file.parent / "store"),
        viewed(run_file) as view,
        httpx.Client(base_url=view.url, timeout=30) as client,
    ):
        assert RunFile.load(run_file).open_store().is_read_only
        for address in ("", "position?at=9", "document?number=5", "search?text=river", "graph", "rejected"):
            shown(client, address)


def test_what_is_written_meanwhile_shows(run_file, tmp_path):
    shutil.copytree(run_file.parent / "store", tmp_path / "store")
    fields = yaml.safe_load(run_file.read_text())
    fields["streams"]["megadocs"]["recipe"]["rounds"] = 4
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    run, store = open_stored(tmp_path / "run.yaml")
    with viewed(tmp_path / "run.yaml") as view, httpx.Client(base_url=view.url, timeout=30) as client:
        assert "120 documents × rounds of 240, 50.0%" in words(shown(client, ""))
        generate(run, LmdbStore(store.location), blocks=12)
        page = ""
        for _ in range(100):
            if "180 documents × rounds of 240, 75.0%" in page:
                break
            time.sleep(0.1)
            page = words(shown(client, ""))
        else:
            pytest.fail(page)
        assert "known at the next look" not in page
