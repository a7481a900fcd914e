"""The example of four streams from start to end, with a server that is killed on the way."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from conftest import TEMPLATE, make_texts
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.auditing.audit import audit
from streamdocs.corpus import prepare_corpus
from streamdocs.generations.progress import read_watermark
from streamdocs.run import Run
from streamdocs.store import LmdbStore

EXAMPLES = Path(__file__).parents[2] / "examples"
BATCHES, BATCH_SIZE = 48, 4


@contextmanager
def server(run_file: Path):
    command = [sys.executable, "-m", "streamdocs_server", str(run_file), "--tokens-per-second", "4000"]
    with (run_file.parent / "server.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


def prepare(folder: Path) -> Path:
    for name, texts, options in (
        ("corpus", make_texts(120), {"train_tokenizer": 400, "keep": ["quality"]}),
        ("lab", make_texts(40, seed=5), {"tokenizer": str(folder / "corpus")}),
    ):
        rows = [json.dumps({"text": text, "quality": number % 5}) for number, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
        prepare_corpus([str(folder / f"{name}.jsonl")], folder / name, progress=False, **options)
    run_file = folder / "streams.yaml"
    run_file.write_text((EXAMPLES / "streams.yaml").read_text())
    return run_file


def wait_for_some_of_each(run_file: Path) -> None:
    """Wait until a block of each stream is there."""
    file, deadline = RunFile.load(run_file), time.monotonic() + 100
    run, store = Run.of(file, TEMPLATE), LmdbStore(file.store)
    while True:
        with store.read() as snapshot:
            if all(read_watermark(snapshot, stream.scope) for stream in run.synthetic):
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_four_streams_from_start_to_end(tmp_path):
    run_file = prepare(tmp_path)
    record = tmp_path / "record.jsonl"
    command = [sys.executable, str(EXAMPLES / "train_torch.py"), str(run_file), f"--batches={BATCHES}", "--workers=0"]
    command += [f"--batch-size={BATCH_SIZE}", f"--record={record}", f"--checkpoint={tmp_path / 'checkpoint.pt'}"]
    with (tmp_path / "train.log").open("w") as log, server(run_file) as first:
        wait_for_some_of_each(run_file)
        trainer = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 200
            while not record.exists() or record.read_bytes().count(b"\n") < BATCHES // 3:
                assert trainer.poll() is None and time.monotonic() < deadline, (tmp_path / "train.log").read_text()
                time.sleep(0.05)
            first.send_signal(signal.SIGKILL)
            with server(run_file):
                assert trainer.wait(200) == 0, (tmp_path / "train.log").read_text()
        finally:
            trainer.kill()
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=BATCH_SIZE)
    found = audit(dataset, 0, BATCHES * BATCH_SIZE).summary()
    assert {name: each["asked"] for name, each in found["streams"].items()} == {
        "web": 48,
        "lab": 24,
        "megadocs": 72,
        "rewrites": 48,
    }
    read = Counter(found["sequences"])
    for name in ("lab", "megadocs", "rewrites"):
        assert read[name] > 0 and read[name] + read[f"filler {name}"] == found["streams"][name]["asked"]
    batches = [json.loads(line) for line in record.read_text().splitlines()]
    assert [each["batch"] for each in batches] == list(range(BATCHES))
