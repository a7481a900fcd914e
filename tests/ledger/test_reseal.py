"""Runs that are sealed anew, because what their windows refer to is gone."""

from itertools import pairwise

import pytest
import torch

from conftest import STITCH, corrupt, forked, generate, make_dataset, make_run, rewrite
from streamdocs import Stitch
from streamdocs.errors import ConfigError, LedgerFileError, MissingGenerationError, StoreError
from streamdocs.ledger.file import LedgerFile, differences, export_ledger, import_ledger
from streamdocs.ledger.verification import reseal_lost, verify
from streamdocs.ledger.windows import windows_in_use
from streamdocs.store import LmdbStore

WINDOWS, SIZE = 6, 32


def rows(dataset, windows) -> torch.Tensor:
    return torch.stack([dataset[p]["input_ids"] for p in range(windows.start * SIZE, windows.stop * SIZE)])


def lose(dataset, window: int, change=lambda tokens: None) -> set[int]:
    """Lose or change what a window reads and its neighbours do not; which documents these are."""
    manifest = dataset.ledger.manifest(window)
    shared = {unit.document for unit in (*manifest.before.carry, *manifest.after.carry)}
    documents = set(manifest.units.documents.tolist()) - shared
    for document in documents:
        rewrite(dataset, document, 0, change)
    return documents


@pytest.fixture
def dataset(small_corpus, full_store):
    """A run that has sealed some windows; a window reads some ten of its hundred documents."""
    dataset = make_dataset(small_corpus, full_store)
    dataset.ledger.manifest(WINDOWS - 1)
    return dataset


def again(dataset, **options):
    return make_dataset(dataset.corpus.local, dataset.store, **options)


def test_the_error_says_what_is_gone_and_what_can_be_done(dataset):
    documents = lose(dataset, 3)
    message = (
        rf"window 3 was sealed with {2 * len(documents)} generations of {len(documents)} documents "
        rf"\({min(documents)}, .*Restore the store .*another name.*ledger reseal RUN_YAML --from 3`, or reseal=True"
    )
    with pytest.raises(MissingGenerationError, match=message):
        rows(again(dataset), range(3, 4))


def test_windows_before_stay_and_those_after_are_sealed_anew(dataset):
    before = [dataset.ledger.sealed(window) for window in range(WINDOWS)]
    kept = rows(dataset, range(3))
    documents = lose(dataset, 3)
    states = {p: dataset.state_dict(p, True) for p in (0, 2 * SIZE, 3 * SIZE, 3 * SIZE + 4, 5 * SIZE)}
    reseal = again(dataset).ledger.reseal(3, "the disk was full")
    assert (reseal.window, reseal.reason, len(reseal.replaced)) == (3, "the disk was full", 3)
    new = again(dataset)
    assert torch.equal(rows(new, range(3)), kept)
    assert len(rows(new, range(3, WINDOWS + 1)))
    assert [new.ledger.sealed(window) for window in range(3)] == before[:3]
    for window in range(3, WINDOWS):
        assert new.ledger.sealed(window) != before[window]
        assert not documents & set(new.ledger.manifest(window).units.documents.tolist())
    assert [str(report) for report in verify(new.ledger)] == ["intact"] * (WINDOWS + 1)
    for position in (0, 2 * SIZE, 3 * SIZE):
        again(dataset).load_state_dict(states[position])
    for position in (3 * SIZE + 4, 5 * SIZE):
        with pytest.raises(
            StoreError, match=r"was replaced: .*the disk was full.*at or before position 96.*reseal=True"
        ):
            again(dataset).load_state_dict(states[position])
        resumed = again(dataset, reseal=True)
        resumed.load_state_dict(states[position])
        assert torch.equal(next(iter(resumed))["input_ids"], new[position]["input_ids"])
    again(dataset).load_state_dict(new.state_dict(5 * SIZE, True))


def test_a_state_of_another_store_is_refused_even_so(dataset, small_corpus, tmp_path):
    state = dataset.state_dict(2 * SIZE, True)
    other = LmdbStore(tmp_path / "other")
    generate(make_run(small_corpus, STITCH), other, blocks=3)
    another = make_dataset(small_corpus, other, reseal=True)
    another.ledger.manifest(3)
    with pytest.raises(StoreError, match="was sealed differently"):
        another.load_state_dict(state)


def test_loading_a_state_seals_anew_what_is_gone(dataset):
    state = dataset.state_dict(2 * SIZE + 8, True)
    kept = rows(dataset, range(2, 4))
    lose(dataset, 1)  # has been read, and stays as it was
    lose(dataset, 4)
    resumed = again(dataset, reseal=True)
    resumed[4 * SIZE - 1]
    resumed.load_state_dict(state)
    assert [reseal.window for reseal in resumed.ledger.reseals] == [4]
    assert "generations of" in resumed.ledger.reseals[0].reason
    assert torch.equal(rows(resumed, range(2, 4)), kept) and len(rows(resumed, range(4, 7)))
    again(dataset, reseal=True).load_state_dict(state)
    assert len(resumed.ledger.reseals) == 1
    assert torch.equal(rows(again(dataset), range(2, 7)), rows(resumed, range(2, 7)))


@pytest.mark.parametrize(
    "change", [lambda tokens: [each[:-1] for each in tokens], lambda tokens: [each[::-1] for each in tokens]]
)
def test_who_knows_a_record_reads_the_one_that_was_written_after_it(dataset, change):
    state = dataset.state_dict(2 * SIZE, True)
    resumed = again(dataset, reseal=True)
    rows(resumed, range(WINDOWS))
    lose(dataset, 4, change)
    resumed.load_state_dict(state)
    assert rows(resumed, range(2, 8)).equal(rows(again(dataset), range(2, 8)))


def test_ranks_that_do_so_at_once_agree(dataset):
    state = dataset.state_dict(2 * SIZE, True)
    lose(dataset, 3)
    corpus, store = str(dataset.corpus.local), dataset.store.location
    with forked() as pool:
        read = set(pool.map(resume_in_a_process, [corpus] * 8, [store] * 8, [state] * 8))
    assert len(read) == 1
    assert len(again(dataset).ledger.reseals) == 1


def resume_in_a_process(corpus: str, store: str, state: dict) -> bytes:
    dataset = make_dataset(corpus, LmdbStore(store), reseal=True)
    dataset.load_state_dict(state)
    return rows(dataset, range(2, WINDOWS)).numpy().tobytes()


def test_who_comes_second_goes_by_the_first(dataset):
    known = dataset.ledger.reseals
    first = dataset.ledger.reseal(3, "first", known)
    assert dataset.ledger.reseal(3, "second", known) == first
    assert [reseal.reason for reseal in dataset.ledger.reseals] == ["first"]


def test_sealing_anew_again_earlier_and_later(dataset):
    packed = []
    for window in (4, 2, 5, 0):
        again(dataset).ledger.reseal(window, f"from {window}")
        packed.append([again(dataset).ledger.manifest(n).pack() for n in range(WINDOWS)])
        assert [str(report) for report in verify(dataset.ledger)] == ["intact"] * WINDOWS
    for (one, two), window in zip(pairwise(packed), (2, 5, 0), strict=True):
        assert one[:window] == two[:window]
        assert not set(one[window:]) & set(two[window:])
    with pytest.raises(ConfigError, match="window 6 cannot be sealed anew: 6 windows are sealed"):
        dataset.ledger.reseal(WINDOWS, "too far")


def test_a_unit_that_was_begun_and_is_gone_is_left_out(dataset):
    window = next(n for n in range(1, WINDOWS) if dataset.ledger.manifest(n).before.skip)
    (begun,) = dataset.ledger.manifest(window).before.carry
    rewrite(dataset, begun.document, 0, lambda tokens: None)
    reseal = dataset.ledger.reseal(window, "gone")
    assert reseal.before.carry == () and reseal.before.skip == 0
    assert str(list(verify(again(dataset).ledger))[window - 1]).startswith("2 missing")
    assert len(rows(again(dataset), range(window, WINDOWS)))
    assert begun.document not in again(dataset).ledger.manifest(window).units.documents


def test_a_unit_that_was_begun_goes_on_where_it_is_there(dataset):
    window = next(n for n in range(1, WINDOWS) if dataset.ledger.manifest(n).before.skip)
    before = dataset.ledger.manifest(window).before
    reseal = dataset.ledger.reseal(window, "as a trial")
    assert (reseal.before.carry, reseal.before.skip) == (before.carry, before.skip)
    new = again(dataset).ledger.manifest(window)
    assert new.units.documents.tolist() == dataset.ledger.manifest(window).units.documents.tolist()
    assert new.after.history != before.history


def test_what_is_damaged_is_not_sealed_again(small_corpus, store):
    recipe = Stitch(generations=2)
    generate(make_run(small_corpus, recipe), store)
    dataset = make_dataset(small_corpus, store)
    manifest = dataset.ledger.manifest(0)
    document = int(manifest.units.documents[2])
    corrupt(dataset, document, 0)  # the last generation of the record; the other is intact
    assert reseal_lost(dataset.ledger, 0).window == 0
    new = again(dataset)
    counts = dict(
        zip(
            *(c.tolist() for c in (new.ledger.manifest(0).units.documents, new.ledger.manifest(0).units.counts)),
            strict=True,
        )
    )
    assert counts[document] == 1 and set(counts.values()) == {1, 2}
    assert len(rows(new, range(1)))


def test_windows_in_use_are_those_that_are_read_today(dataset):
    dataset.ledger.reseal(2, "as a trial")
    new = again(dataset)
    new.ledger.manifest(3)
    found = [manifest().pack() for _, manifest in windows_in_use(dataset.store, dataset.run.stream().scope)]
    assert found == [new.ledger.manifest(window).pack() for window in range(4)]
    assert new.ledger.manifest(new.ledger.count() - 1).after.window == 4


def test_a_run_that_was_sealed_anew_is_exported_and_imported(dataset, small_corpus, tmp_path):
    other = LmdbStore(tmp_path / "other")
    generate(make_run(small_corpus, STITCH), other)
    import_ledger(make_dataset(small_corpus, other).ledger, export_ledger(dataset.ledger))
    lose(dataset, 3)
    before = export_ledger(dataset.ledger)
    dataset.ledger.reseal(3, "gone")
    shorter = before.model_copy(update={"windows": before.windows[:3]})
    assert differences(before, shorter) == ["the first 3 windows are the same; only one of them has windows 3 to 5"]
    assert differences(shorter, export_ledger(dataset.ledger)) == ["one of them is to be sealed anew from its end on"]
    new = again(dataset)
    new.ledger.manifest(WINDOWS)
    export_ledger(new.ledger).save(tmp_path / "run.ledger")
    exported = LedgerFile.load(tmp_path / "run.ledger")
    with pytest.raises(LedgerFileError, match=r"window 3 is the first that differs .*one of them was sealed anew here"):
        import_ledger(make_dataset(small_corpus, other).ledger, exported)
    fresh = LmdbStore(tmp_path / "fresh")
    generate(make_run(small_corpus, STITCH), fresh)
    into = make_dataset(small_corpus, fresh)
    assert import_ledger(into.ledger, exported) == []
    assert into.ledger.reseals == new.ledger.reseals
    assert torch.equal(rows(into, range(WINDOWS + 1)), rows(new, range(WINDOWS + 1)))
    with pytest.raises(LedgerFileError, match="was sealed anew where the file was not"):
        import_ledger(new.ledger, exported.model_copy(update={"reseals": (), "windows": exported.windows[:3]}))
