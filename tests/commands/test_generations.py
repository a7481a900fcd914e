"""``streamdocs generations``: what was written, beside its documents, and what was made of it."""

import json

import pytest
from typer.testing import CliRunner

from conftest import STITCH, generate, make_dataset, make_run, write_run_file
from streamdocs.commands.cli import commands
from streamdocs.generations.rejected import RejectedText, rejections
from streamdocs_server.gates.gates import Gates


@pytest.fixture(scope="module")
def run_file(small_corpus, tmp_path_factory):
    """A run of which some generations are too long, with a sample of two."""
    folder = tmp_path_factory.mktemp("run")
    dataset = make_dataset(small_corpus, folder / "store")
    generate(make_run(small_corpus, STITCH), dataset.store, gates=Gates(max_ratio=0.6, slack=0, min_ratio=None))
    texts = [RejectedText(3, 0, "too long", "One that\x1b[2J was too long."), RejectedText(4, 0, "empty", "...")]
    dataset.store.update_all(rejections(dataset.run.stream().scope, texts))
    return write_run_file(folder / "run.yaml", dataset)


def show(run_file, *options: str) -> str:
    shown = CliRunner().invoke(commands, ["generations", str(run_file), *options])
    assert shown.exit_code == 0, shown.output
    return shown.output


def listed(run_file, *options: str) -> list[dict]:
    return [json.loads(line) for line in show(run_file, "--json", "--limit", "999", *options).splitlines()]


def test_accepted_and_rejected_ones_are_shown_beside_their_documents(run_file):
    shown = show(run_file, "--accepted", "--limit", "2")
    assert shown.count("accepted") == shown.count("[document] Document ") == shown.count("[text] ") == 2
    rejected = show(run_file, "--rejected", "--cause", "too long")
    assert "document 3, round 0: rejected: too long" in rejected and "One that\\x1b[2J was" in rejected


def test_filters_and_json(run_file, small_corpus):
    everything = listed(run_file)
    accepted = [each for each in everything if each["verdict"] == "accepted"]
    assert accepted == listed(run_file, "--accepted") and len(accepted) > 20
    assert [each["text"] for each in listed(run_file, "--rejected")] == ["...", "One that\x1b[2J was too long."]
    (empty,) = listed(run_file, "--cause", "empty")
    assert (empty["document"], empty["cause"], empty["number"]) == (4, "empty", None)
    of_one = listed(run_file, "--document", "3")
    assert {each["document"] for each in of_one} == {3} and len(of_one) == 3  # two of the round, and one of the sample
    source = make_run(small_corpus, STITCH).corpus.text(3)
    assert {each["source"] for each in of_one} == {source}
    assert listed(run_file, "--round", "1") == []
