"""Steered runs: dealt by what was decided, replayed by anyone, and as before where nobody reports."""

from collections import Counter

import pytest
import torch
import yaml
from streaming import StreamingDataLoader

from conftest import generate, make_corpus, make_dataset, make_texts
from streamdocs import Rephrase, StreamingMegadocDataset
from streamdocs.errors import ConfigError, FingerprintError, LedgerFileError, StoreError
from streamdocs.generations.progress import read_tallies
from streamdocs.ledger.file import differences, export_ledger, import_ledger
from streamdocs.ledger.verification import verify
from streamdocs.ledger.windows import window_key
from streamdocs.steering.decision import Decision
from streamdocs.store import LmdbStore

WINDOW = 32
STREAMS = {
    "web": {"share": "1/2"},
    "plain": {"share": "1/4", "recipe": Rephrase(generations=2)},
    "varied": {"share": "1/4", "recipe": Rephrase(generations=4, per_round=2)},
}


def steered(corpus, store, controller="ucb", **options):
    options = {"streams": STREAMS, "recipe": None, "synthetic_fraction": 0, "epoch_size": 640, **options}
    return make_dataset(corpus, store, controller=controller, **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory, small_corpus):
    """A store with all generations of the run, which tests copy."""
    store = LmdbStore(tmp_path_factory.mktemp("written") / "store")
    generate(steered(small_corpus, store).run, store)
    return store


@pytest.fixture
def own(written, tmp_path):
    """A copy of it."""
    store = LmdbStore(tmp_path / "own")
    with written.read() as snapshot:
        for table in ("texts", "tokens", "blocks"):
            store.add(table, dict(snapshot.scan(table, b"")))
        for key, value in snapshot.scan("notes", b""):
            store.update(key, lambda _, value=value: value)
    return store


def train(dataset, batches: int, better: str = "varied") -> list[torch.Tensor]:
    """Read so many batches, and report that one of the streams is learned and the other is not."""
    number, read = dataset.streams.index(better), []
    for batch in dataset:
        row = {name: column.unsqueeze(0) for name, column in batch.items()}
        learned = 5 * (1 + row["position"].float() / WINDOW) ** -0.5
        dataset.report(row, torch.where(row["stream"] == number, learned, 5.0))
        read.append(row["input_ids"][0])
        if len(read) == batches:
            break
    return read


def decisions(dataset, windows: int) -> list[str]:
    return [dataset.run.decisions.of(window).digest for window in range(windows)]


def test_the_arm_that_is_learned_gets_more_and_web_text_stays_where_it_was(small_corpus, own):
    dataset, fixed = steered(small_corpus, own), steered(small_corpus, own, "fixed")
    train(dataset, 640)
    found = [dataset.run.decisions.of(window) for window in range(20)]
    assert found[0].shares == (500_000, 500_000) and found[-1].shares == (50_000, 950_000)
    for window in range(20):
        ours, theirs = (each.run.mixture.plan(window) for each in (dataset, fixed))
        assert (ours.stream == 0).tolist() == (theirs.stream == 0).tolist()
        assert ours.row[ours.stream == 0].tolist() == theirs.row[theirs.stream == 0].tolist()
        counts = Counter(ours.stream.tolist())
        assert (counts[1], counts[2]) == found[window].counts
        assert [len(dataset.run.mixture.rows(number, window)) for number in (1, 2)] == [counts[1], counts[2]]
    assert [dataset.run.mixture.before(number, 640) for number in (1, 2)] == list(found[-1].after)
    assert all(
        torch.equal(dataset[p]["input_ids"], fixed[p]["input_ids"]) for p in range(640) if dataset[p]["stream"] == 0
    )


def test_what_was_decided_is_replayed_whoever_reads_it(small_corpus, own):
    dataset = steered(small_corpus, own)
    read = torch.stack(train(dataset, 640))
    made = decisions(dataset, 20)
    again = steered(small_corpus, own)
    batches = list(StreamingDataLoader(again, batch_size=4, num_workers=2))
    assert torch.equal(torch.cat([batch["input_ids"] for batch in batches]), read)
    assert torch.cat([batch["position"] for batch in batches]).tolist() == [*range(640)]
    assert decisions(again, 20) == made
    for rank in (0, 1):
        for position, sample in enumerate(steered(small_corpus, own, rank=rank, ranks=2, batch_size=2), 0):
            assert torch.equal(sample["input_ids"], read[sample["position"]])
            assert position < 320


def test_what_is_reported_later_changes_nothing_that_was_decided(small_corpus, own):
    dataset = steered(small_corpus, own)
    train(dataset, 320)
    made = decisions(dataset, 10)
    again = steered(small_corpus, own)
    train(again, 320, better="plain")  # the opposite
    assert decisions(again, 10) == made


def test_a_killed_trainer_goes_on_where_it_stood(small_corpus, own):
    dataset = steered(small_corpus, own)
    train(dataset, 100)
    state, rest = dataset.state_dict(100, True), torch.stack(train(dataset, 200))
    made = decisions(dataset, 9)
    again = steered(small_corpus, own)
    again.load_state_dict(state)
    found = torch.stack(train(again, 188, better="plain"))
    assert torch.equal(found, torch.stack([dataset[p]["input_ids"] for p in range(100, 288)]))
    assert decisions(again, 9) == made and len(rest) == 200


def test_each_manifest_holds_the_decision(small_corpus, own):
    dataset = steered(small_corpus, own)
    train(dataset, 320)
    for ledger in dataset.ledgers.values():
        for window in range(10):
            assert Decision.unpack(ledger.manifest(window).decision) == dataset.run.decisions.of(window)
        assert all(report.replays for report in verify(ledger))


@pytest.mark.parametrize("controller", ["ucb", "exp3", "ado"])
def test_where_nobody_reports_shares_are_fixed(small_corpus, own, controller):
    dataset = steered(small_corpus, own, controller, batch_size=32)
    total = torch.zeros(3)
    for batch in StreamingDataLoader(dataset, batch_size=32):
        total += torch.bincount(batch["stream"], minlength=3)
    assert total.tolist() == [320, 160, 160]
    assert {dataset.run.decisions.of(window).shares for window in range(20)} == {(500_000, 500_000)}


def test_a_schedule_is_dealt_exactly(small_corpus, own):
    shares = {0: {"plain": "3/4", "varied": "1/4"}, 320: {"plain": "0", "varied": "1"}}
    dataset = steered(small_corpus, own, {"name": "schedule", "shares": shares})
    streams = torch.tensor([dataset[p]["stream"] for p in range(640)])
    assert torch.bincount(streams[:320]).tolist() == [160, 120, 40]
    assert torch.bincount(streams[320:]).tolist() == [160, 0, 160]
    state = dataset.state_dict(640, True)  # in whose newest windows one of the streams has nothing
    steered(small_corpus, own, {"name": "schedule", "shares": shares}).load_state_dict(state)


def test_a_state_of_another_store_is_refused_and_nothing_is_decided_there(small_corpus, own, written, tmp_path):
    dataset = steered(small_corpus, own)
    train(dataset, 100)
    state = dataset.state_dict(100, True)
    fresh = LmdbStore(tmp_path / "fresh")
    other = steered(small_corpus, fresh, generator={"model": "template", "revision": "1"})
    with pytest.raises(StoreError, match=r"window 3 was never decided on .* the state comes from another store"):
        other.load_state_dict(state)
    assert all(other.run.decisions.sealed(window) is None for window in range(100))
    with pytest.raises(FingerprintError, match="controller"):
        steered(small_corpus, own, "exp3").load_state_dict(state)
    said = r"controller: ucb .* in the state, fixed here\. Go on with the run file that it was made with"
    with pytest.raises(FingerprintError, match=said):
        steered(small_corpus, own, "fixed").load_state_dict(state)


def copied(dataset, small_corpus, written, tmp_path, **options):
    """The run over another store that holds all its texts and nothing that was sealed."""
    store = LmdbStore(tmp_path / "copy")
    with written.read() as snapshot:
        for table in ("texts", "tokens", "blocks"):
            store.add(table, dict(snapshot.scan(table, b"")))
    return steered(small_corpus, store, **options)


def test_a_ledger_takes_its_decisions_along(small_corpus, own, written, tmp_path):
    dataset = steered(small_corpus, own)
    train(dataset, 320)
    other = copied(dataset, small_corpus, written, tmp_path)
    for name, ledger in dataset.ledgers.items():
        assert import_ledger(other.ledgers[name], export_ledger(ledger)) == []
    assert decisions(other, 10) == decisions(dataset, 10)
    assert all(torch.equal(other[p]["input_ids"], dataset[p]["input_ids"]) for p in range(320))


def test_the_first_decision_in_which_runs_part_is_named(small_corpus, own, written, tmp_path):
    dataset, other = steered(small_corpus, own), copied(None, small_corpus, written, tmp_path)
    train(dataset, 320)
    train(other, 320, better="plain")
    ledger, theirs = (export_ledger(each.ledgers["plain"]) for each in (dataset, other))
    parts, said, *_ = differences(ledger, theirs)
    first = next(window for window in range(10) if decisions(dataset, 10)[window] != decisions(other, 10)[window])
    assert parts.startswith(f"they part in window {first} ")
    shares = "50.0% : 50.0%, some arm is not known yet"
    assert said == f"the decision on its shares: {shares}, both times; they differ in losses of windows 0"
    with pytest.raises(LedgerFileError, match=r"window 2 is the first that differs .*the decision on its shares"):
        import_ledger(other.ledgers["plain"], ledger)
    with pytest.raises(LedgerFileError, match=r"decided differently \(50.*they differ in losses of windows 0\)"):
        third = copied(None, small_corpus, written, tmp_path / "third")
        import_ledger(third.ledgers["plain"], ledger)
        import_ledger(third.ledgers["varied"], export_ledger(other.ledgers["varied"]))


@pytest.mark.parametrize("lost", [range(7, 8), range(10)], ids=["one", "all"])
@pytest.mark.parametrize("damaged", [True, False])
def test_decisions_that_are_lost_are_in_what_was_sealed_by_them(small_corpus, own, lost, damaged):
    dataset = steered(small_corpus, own)
    train(dataset, 320)
    made, keys = decisions(dataset, 10), [dataset.run.decisions._key(window) for window in lost]
    own.delete("windows", keys)
    if damaged:
        own.add("windows", dict.fromkeys(keys, b"nothing"))
    dataset.run.decisions.reports.add_held_out(64, 1.0)  # by which it would be decided otherwise
    again = steered(small_corpus, own)
    assert torch.equal(again[7 * WINDOW + 3]["input_ids"], dataset[7 * WINDOW + 3]["input_ids"])
    assert decisions(again, 8) == made[:8]
    assert again[9 * WINDOW]["position"] == 9 * WINDOW and decisions(again, 10) == made


@pytest.mark.parametrize("damaged", [True, False])
def test_a_decision_that_is_lost_with_what_was_sealed_by_it_is_told_and_not_made_anew(small_corpus, own, damaged):
    dataset = steered(small_corpus, own)
    dataset[3 * WINDOW]
    made = dataset.run.decisions
    gone = [window_key(ledger.id, 2, ()) for ledger in dataset.ledgers.values()]
    own.delete("windows", [*gone, made._key(2)])
    if damaged:
        own.add("windows", {made._key(2): b"nothing"})
    with pytest.raises(StoreError, match=r"the decision on window 2 .* cannot be read"):
        steered(small_corpus, own)[2 * WINDOW]


def test_an_imported_ledger_mends_a_damaged_decision(small_corpus, own):
    dataset = steered(small_corpus, own)
    train(dataset, 320)
    exported, made = export_ledger(dataset.ledgers["plain"]), decisions(dataset, 10)
    own.replace({"windows": {dataset.run.decisions._key(2): b"nothing"}})
    again = steered(small_corpus, own)
    assert import_ledger(again.ledgers["plain"], exported) == [] and decisions(again, 10) == made


def test_a_report_of_what_was_not_read_ends_nothing(small_corpus, own, caplog):
    dataset = steered(small_corpus, own)
    batch = {"position": torch.tensor([10 * WINDOW]), "stream": torch.tensor([0]), "labels": torch.ones(1, 64).long()}
    for position in (10 * WINDOW, -5, 1 << 60):
        for _ in range(8):
            dataset.report({**batch, "position": torch.tensor([position])}, torch.ones(1))
    assert caplog.text.count("is of another run: it does not count") >= 3
    train(dataset, 64)
    assert dataset.run.decisions.reports.windows() == [0, 1]


def test_an_arm_is_not_judged_by_web_text_in_its_place(small_corpus, written, tmp_path):
    store = LmdbStore(tmp_path / "half")
    streams = {**STREAMS, "varied": {"share": "1/4", "recipe": Rephrase(generations=3, max_tokens=99)}}
    dataset = steered(small_corpus, store, streams=streams, when_behind="web")
    plain = dataset.run.stream("plain").scope
    with written.read() as snapshot:
        for table in ("texts", "tokens", "blocks"):
            store.add(table, dict(snapshot.scan(table, b"")))
    assert read_tallies(store, plain)
    train(dataset, 640)  # web text in the place of "varied" is what gets better
    assert all(dataset.run.decisions.of(window).shares == (500_000, 500_000) for window in range(20))


@pytest.mark.parametrize(
    "said",
    [
        {"held_out": "low"},
        {"held_out": torch.ones(2)},
        {"held_out": 1.0, "position": -1},
        {"held_out": 1.0, "position": 1 << 70},
        {"held_out": 1.0, "position": 3.5},
        {"held_out": True},
        {"held_out": 1.0, "position": True},
        {"held_out": torch.ones((), device="meta")},
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(small_corpus, own, said):
    with pytest.raises(ConfigError, match="a loss, and a whole number of sequences"):
        steered(small_corpus, own).report(**{"position": 5, **said})


def test_a_batch_that_is_none_is_refused(small_corpus, own):
    dataset = steered(small_corpus, own)
    whole = {"position": torch.tensor([0]), "stream": torch.tensor([0]), "labels": torch.ones(1, 64).long()}
    for batch, losses in (
        ({}, torch.ones(1)),
        (whole, [1.0]),
        ({**whole, "labels": torch.ones(64)}, torch.ones(1)),
        ({**whole, "position": None}, torch.ones(1)),
        ([whole], torch.ones(1)),
        (tuple(whole.values()), torch.ones(1)),
        (whole["labels"], torch.ones(1)),
        ({**whole, "position": torch.tensor([0, 1])}, torch.ones(1)),
        ({**whole, "stream": torch.tensor([0, 1])}, torch.ones(1)),
        ({**whole, "position": torch.tensor([[0]])}, torch.ones(1)),
        ({**whole, "position": torch.tensor([0.0])}, torch.ones(1)),
        ({**whole, "stream": torch.tensor([False])}, torch.ones(1)),
        ({**whole, "position": whole["position"].to("meta")}, torch.ones(1)),
        (whole, torch.ones(1, device="meta")),
        (whole, torch.ones(1, dtype=torch.complex64)),
    ):
        with pytest.raises(ConfigError, match="takes a batch as the loader gave it"):
            dataset.report(batch, losses)
    with pytest.raises(ConfigError, match=r"every=0\): of how many"):
        dataset.report(whole, torch.ones(1), every=0)
    dataset.report(whole, torch.ones(1), every=8)  # what was refused takes nothing with it
    assert dataset.run.decisions.reports.windows() == []
    dataset[0]
    dataset.report(whole, torch.ones(1), every=8)
    assert dataset.run.decisions.reports.windows() == [0]


@pytest.mark.parametrize(
    ("controller", "said"),
    [
        ("best", "'best'; it is one of fixed, schedule, ucb, exp3, ado"),
        ({"name": "ucb", "floor": 0.6}, r"mix\.controller: .* below 1/2"),
        ({"name": "ucb", "flor": 0.1}, "controller ucb has no flor; its fields are floor, reward, lag, patience, c$"),
        ({"name": "ucb", "c": float("inf")}, r"controller: controller ucb: c: "),
        ({"name": "fixed", "floor": 0.1}, "controller fixed moves nothing and has no fields: leave them out"),
        ({"name": "schedule"}, r"mix\.controller: .*say those of position 0"),
        (
            {"name": "schedule", "shares": {0: {"plain": 1, "varied": 0}, 64: {"plain": 2, "varied": -1}}},
            "mix.controller: controller schedule: shares of position 64: plain=2.0: from 0 to 1",
        ),
        ({"name": "exp3", "reward": "most"}, "reward"),
        (7, "a name and fields of its own"),
    ],
)
def test_a_controller_that_cannot_be_is_refused(small_corpus, own, controller, said):
    with pytest.raises(ConfigError, match=said):
        steered(small_corpus, own, controller)


def test_what_is_held_out_is_read_without_any_controller(tmp_path):
    corpus = make_corpus(tmp_path, make_texts(60), holdout=0.3)
    recipe = {"name": "rephrase", "generations": 2}
    streams = {"web": {"share": "1/2"}, **{name: {"share": "1/4", "recipe": recipe} for name in ("a", "b")}}
    mix = {"max_seq_len": 64, "window": 16, "controller": {"name": "exp3", "floor": 0.1}}
    fields = {"corpus": str(corpus), "store": "store", "streams": streams, "mix": mix}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**fields, "generator": {"model": "template", "revision": "1"}}))
    held_out = StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=2, split="holdout")
    assert held_out.run.decisions is None and held_out[0]["input_ids"].shape == (64,)
    dataset = StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=2)
    assert dataset.run.decisions.arms.names == ("a", "b") and "exp3" in dataset.run.fingerprint["controller"]


def test_one_stream_cannot_be_steered(small_corpus, own):
    with pytest.raises(ConfigError, match="give two or more"):
        make_dataset(small_corpus, own, controller="ucb")


def test_what_cannot_be_reported_is_refused(small_corpus, own):
    dataset = steered(small_corpus, own)
    with pytest.raises(ConfigError, match="says what a batch lost"):
        dataset.report()
    with pytest.raises(ConfigError, match="says what a batch lost"):
        dataset.report({}, None, held_out=1.0)
    with pytest.raises(ConfigError, match="this has none"):
        make_dataset(small_corpus).report(held_out=1.0)
