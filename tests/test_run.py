"""One run from one file: what the dataset can be told, the file can say, and the server goes by it."""

import asyncio
import inspect
import json
import subprocess
import sys
from fractions import Fraction

import pytest
import yaml
from streaming import StreamingDataLoader

from conftest import STITCH, TEMPLATE, generate, make_dataset, make_loop, make_run
from streamdocs import Generator, Rephrase, RunFile, Stitch, StreamingMegadocDataset
from streamdocs.errors import ConfigError, WaitTimeoutError
from streamdocs.run import Run

#: What decides the order of documents, other than by default.
ORDERS = [
    {"shuffle": False},
    {"shuffle_algo": "py1s"},
    {"shuffle_block_size": 16},
    {"num_canonical_nodes": 4},
]
FIELDS = {"recipe": {"name": "stitch", "generations": 2}, "mix": {"max_seq_len": 64, "window": 16}}


@pytest.fixture
def run_file(small_corpus, tmp_path):
    """Writes a run file whose ``mix`` says more."""

    def write(**mix):
        path = tmp_path / "run.yaml"
        fields = {**FIELDS, "corpus": str(small_corpus), "store": "store", "mix": {**FIELDS["mix"], **mix}}
        path.write_text(yaml.safe_dump(fields))
        return path

    return write


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: next(iter(order)))
def test_from_run_file_to_batch_with_a_real_server(run_file, order):
    file = run_file(**order)
    command = [sys.executable, "-m", "streamdocs_server", str(file), "--tokens-per-second", "20000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        dataset = StreamingMegadocDataset.from_run_file(file, batch_size=4, wait_timeout=60)
        batches = list(StreamingDataLoader(dataset, batch_size=4, num_workers=1))
        status = json.loads(server.communicate(timeout=60)[0])
    assert status["state"] == "all rounds are done" and len(batches) * 4 == dataset.epoch_size
    assert {int(batch["synthetic"].sum()) for batch in batches} == {3}
    (name, value) = next(iter(order.items()))
    assert dataset.run.stream().order.shuffle.fields[name] == value
    plain = Run.of(RunFile.load(run_file()), TEMPLATE)
    assert plain.stream().scope.id != dataset.run.stream().scope.id


def test_a_run_is_the_same_whoever_opens_it(small_corpus, tmp_path):
    """From a file, by the dataset from the file, and by the dataset from arguments."""
    mix = {"shuffle_seed": 3, "shuffle_algo": "py1br", "shuffle_block_size": 32, "num_canonical_nodes": 2, "name": "x"}
    fields = {**FIELDS, "corpus": str(small_corpus), "store": "store", "mix": {**FIELDS["mix"], **mix}}
    fields["generator"] = {"model": TEMPLATE.model, "revision": TEMPLATE.revision}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    runs = [
        Run.of(RunFile.load(tmp_path / "run.yaml"), TEMPLATE),
        StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=4).run,
        make_dataset(small_corpus, tmp_path / "store", window=16, **mix).run,
    ]
    assert len({run.ledger_id(run.stream()) for run in runs}) == len({run.stream().scope.id for run in runs}) == 1


def test_the_file_can_say_every_argument_that_changes_what_is_read(run_file):
    elsewhere = {
        *("batch_size", "replication", "rank", "ranks"),  # how it is dealt out
        "reseal",  # what is to be done once, when a state is loaded
    }
    arguments = set(inspect.signature(StreamingMegadocDataset).parameters)
    assert set(RunFile.load(run_file()).dataset_arguments()) == arguments - elsewhere


@pytest.mark.parametrize(
    "given",
    [*ORDERS, {"shuffle_seed": 1}, {"recipe": Rephrase(generations=2)}, {"recipe": Stitch(generations=4)}],
    ids=str,
)
def test_what_no_server_of_the_file_writes_is_refused_at_once(run_file, given):
    (name, value) = next(iter(given.items()))
    with pytest.raises(ConfigError, match=rf"(?s)for another run.*{name}: .* in the run file, .* given") as error:
        StreamingMegadocDataset.from_run_file(run_file(), batch_size=4, **given)
    assert str(value) in str(error.value)


def test_what_is_read_otherwise_of_the_same_generations_may_be_given(run_file, small_corpus, tmp_path):
    file = run_file()
    generate(make_run(small_corpus, STITCH, seed=9176), make_dataset(small_corpus, tmp_path / "store").store)
    given = {"generator": TEMPLATE, "recipe": Stitch(generations=2, web="first"), "synthetic_fraction": 0.5}
    given |= {"shuffle_block_size": None, "window": 8, "name": "second"}
    assert len(StreamingMegadocDataset.from_run_file(file, batch_size=4, **given)[0]["input_ids"]) == 64
    web = StreamingMegadocDataset.from_run_file(file, batch_size=4, synthetic_fraction=0, shuffle=False)
    assert not web[0]["synthetic"]


@pytest.mark.parametrize("order", [*ORDERS, {"shuffle_seed": 1}], ids=lambda order: next(iter(order)))
def test_what_is_only_given_in_code_is_named(small_corpus, full_store, monkeypatch, order):
    """There is no file to compare with, but the server has told the store what it writes for."""
    monkeypatch.setattr("streamdocs.ledger.waiting.HEARTBEAT_TIMEOUT", 0.2)

    async def serve(seconds: float) -> None:
        loop = make_loop(make_run(small_corpus, STITCH), full_store)
        await asyncio.wait_for(loop.run(), seconds)

    asyncio.run(serve(60))  # it is done, and has said so
    dataset = make_dataset(small_corpus, full_store, **order)
    (name, value) = next(iter(order.items()))
    with pytest.raises(WaitTimeoutError, match=rf"for another run \(.*{name}: .* in the store, {value} here"):
        dataset[0]


def test_what_is_held_out_is_read_as_web_text(tmp_path, small_corpus, run_file):
    from conftest import make_corpus, make_texts

    corpus = make_corpus(tmp_path, make_texts(60), holdout=0.3)
    file = run_file()
    file.write_text(file.read_text().replace(str(small_corpus), str(corpus)))
    dataset = StreamingMegadocDataset.from_run_file(file, batch_size=4, split="holdout", evaluation=True)
    assert not any(sample["synthetic"] for sample in dataset)
    with pytest.raises(ConfigError, match="generations are of 'train' alone"):
        StreamingMegadocDataset.from_run_file(file, batch_size=4, split="holdout", synthetic_fraction=0.5)


def test_none_is_as_the_file_says(run_file, small_corpus, tmp_path):
    mix = {"shuffle": False, "num_canonical_nodes": 2, "shuffle_seed": 3, "window": 8, "name": "x", "epoch_size": 40}
    file = run_file(**mix)
    none = dict.fromkeys([*mix, "recipe", "store", "split", "when_behind", "synthetic_fraction"])
    given = {"generator": TEMPLATE, "batch_size": 4}
    dataset = StreamingMegadocDataset.from_run_file(file, **given, **none)
    assert dataset.ledger.id == StreamingMegadocDataset.from_run_file(file, **given).ledger.id
    stream = dataset.run.stream()
    assert (dataset.epoch_size, stream.when_behind, stream.order.shuffle.shuffle) == (40, "reuse", False)
    with pytest.raises(ConfigError, match=r"mix\.synthetic_fraction"):
        make_dataset(small_corpus, tmp_path / "store", synthetic_fraction=None)
    third = make_dataset(small_corpus, tmp_path / "store", synthetic_fraction=Fraction(1, 3))
    assert third.run.mixture.fraction == Fraction(1, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"evaluation": "perhaps"}, r"mix\.evaluation: "),
        ({"window": True}, r"mix\.window: has to be a number"),
        ({"epoch_size": False}, r"mix\.epoch_size: has to be a number"),
        ({"cache_limit": "abc"}, "cache_limit: "),
        ({"epoch_size": "1/3"}, r"mix\.epoch_size: "),
        ({"epoch_size": 10**30}, r"mix\.epoch_size: "),
        ({"generator": "template"}, "generator: "),
        ({"recipe": "stitch"}, "recipe: "),
        ({"local": None}, "corpus: "),
        ({"store": 5}, "store: "),
        ({"batch_size": "4"}, "batch_size=.* is needed"),
        ({"when_behind": None}, r"mix\.when_behind: "),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(small_corpus, tmp_path, given, message):
    arguments = {"local": small_corpus, "store": tmp_path / "store", "recipe": STITCH, "generator": TEMPLATE}
    with pytest.raises(ConfigError, match=message):
        StreamingMegadocDataset(**{**arguments, "synthetic_fraction": 0.5, "batch_size": 4, **given})


def test_words_for_numbers(run_file):
    file = run_file(epoch_size="1k", synthetic_fraction=0)
    file.write_text(f"{file.read_text()}cache_limit: 64mb\n")
    assert (RunFile.load(file).mix.epoch_size, RunFile.load(file).cache_limit) == (1000, 64 << 20)
    assert StreamingMegadocDataset.from_run_file(file, batch_size=4, evaluation="false").evaluation is False


def test_what_only_a_server_of_another_mode_keeps_up_with_is_refused(run_file):
    with pytest.raises(ConfigError, match="when_behind: reuse in the run file, wait given"):
        StreamingMegadocDataset.from_run_file(run_file(), batch_size=4, when_behind="wait")


def test_a_server_follows_whoever_reads_what_it_writes(small_corpus, store):
    """A trainer of another name, window and share reads the same generations; the server is not ahead of nobody."""
    run = make_run(small_corpus, Stitch(generations=4, per_round=1))
    loop = make_loop(run, store, max_lead=32)

    async def work() -> None:
        serving = asyncio.create_task(loop.run())
        options = {"recipe": run.stream().recipe, "name": "other", "window": 16, "synthetic_fraction": "1/2"}
        dataset = make_dataset(small_corpus, store, **options)
        try:
            while loop.watermark < 300:
                await asyncio.to_thread(dataset.__getitem__, loop.watermark)
        finally:
            serving.cancel()

    asyncio.run(asyncio.wait_for(work(), 60))


@pytest.mark.parametrize(
    "lacks", [{"store": None}, {"recipe": None}, {"split": "holdout"}], ids=lambda lacks: next(iter(lacks))
)
def test_a_server_needs_something_to_write(tmp_path, run_file, lacks):
    file = run_file(synthetic_fraction=0)
    fields = {**yaml.safe_load(file.read_text()), **lacks}
    file.write_text(yaml.safe_dump(fields))
    command = [sys.executable, "-m", "streamdocs_server", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 1 and "with a store and a recipe" in said.stderr
    web = StreamingMegadocDataset.from_run_file(run_file(synthetic_fraction=0), batch_size=4)
    assert not web[0]["synthetic"] and not (tmp_path / "store").exists()


def test_another_model_than_the_files_is_refused(tmp_path, run_file):
    file = run_file()
    file.write_text(f"{file.read_text()}generator: {{model: m}}\n")
    with pytest.raises(ConfigError, match=r"generator: .*model='m'.* in the run file, .*model='other'"):
        StreamingMegadocDataset.from_run_file(file, batch_size=4, generator=Generator(model="other"))


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"shuffle_algo": "foo"}, "mix.shuffle_algo: has to be 'py1e'"),
        ({"num_canonical_nodes": 101}, "num_canonical_nodes=101"),
        ({"shuffle_seed": -1}, "shuffle_seed"),
        ({"window": 0}, "window"),
    ],
)
def test_a_trainer_hears_of_its_mistakes_before_it_waits_for_a_server(run_file, mix, message):
    with pytest.raises(ConfigError, match=message):
        StreamingMegadocDataset.from_run_file(run_file(**mix), batch_size=4, wait_timeout=0.1)


def test_a_condition_that_cannot_be_is_heard_of_before_any_server(small_corpus, tmp_path):
    shares = {"web": {"share": "1/2"}, "faq": {"share": "1/2", "recipe": FIELDS["recipe"], "where": {"quality": [1]}}}
    fields = {"corpus": str(small_corpus), "store": "store", "mix": FIELDS["mix"], "streams": shares}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError, match="no column 'quality'"):
        StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=4, wait_timeout=0.1)


@pytest.mark.parametrize("share", [True, "1/1000001", "0.1234567", "-1/2", None])
def test_a_share_is_a_number(small_corpus, share):
    streams = {"web": {"share": share}, "others": {"share": "1/2"}}
    with pytest.raises(ConfigError, match="share"):
        StreamingMegadocDataset(local=small_corpus, batch_size=4, max_seq_len=64, streams=streams)
