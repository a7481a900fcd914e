"""Writing all that a trainer will read, before there is one."""

import yaml
from typer.testing import CliRunner

from streamdocs import RunFile
from streamdocs_server.cli import app


def write(path, corpus, **recipe):
    fields = {
        "corpus": str(corpus),
        "store": f"file://{path.parent}/store",
        "recipe": {"name": "stitch", "generations": 3, "per_round": 1, **recipe},
        "server": {"max_lead": 10, "gates": {"max_repeated_ngrams": 1, "min_ratio": None}},
    }
    path.write_text(yaml.safe_dump(fields))
    return path


def test_a_store_is_filled_through_a_cache_that_is_named(small_corpus, tmp_path):
    path = write(tmp_path / "run.yaml", small_corpus)
    done = CliRunner().invoke(app, [str(path), "--fill", f"--cache={tmp_path}/there"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "there").is_dir() and not (tmp_path / "cache").exists()
    # As any other node sees it.
    with RunFile.load(path).open_store().read() as snapshot:
        assert len([*snapshot.scan("texts", b"")]) == 300


def test_rounds_that_replace_others_are_for_training_to_ask_for(small_corpus, tmp_path):
    for rounds, told in ((None, "null"), (9, "9")):
        path = write(tmp_path / "run.yaml", small_corpus, rounds=rounds)
        done = CliRunner().invoke(app, [str(path), "--fill"])
        assert done.exit_code == 1 and f"stream synthetic has rounds: {told}, and a store is full with 3" in done.output
    assert not (tmp_path / "store").exists()
