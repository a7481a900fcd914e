"""The example of each recipe, from its run file to batches, with the engine that has no model."""

import asyncio
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import make_corpus, make_texts
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.auditing.audit import audit
from streamdocs.commands import cli
from streamdocs.commands.ledger import app as ledger
from streamdocs.generations.progress import read_tallies, total
from streamdocs_server.cli import serve_run

EXAMPLES = Path(__file__).parents[2] / "examples/recipes"
NAMES = ("append", "think", "answer", "correct", "judge", "template", "styles")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("examples"), make_texts(40))


def test_there_is_an_example_of_each_recipe():
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {*NAMES, "letter"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """A corpus of paragraphs that have something in common."""
    text = "\n\n".join(page.read_text() for page in sorted((EXAMPLES.parents[1] / "docs").glob("*.md")))
    paragraphs = dict.fromkeys(each for each in text.split("\n\n") if 200 < len(each) < 1500 and each[0].isalpha())
    return make_corpus(tmp_path_factory.mktemp("pages"), [*paragraphs][:60])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_from_start_to_end(name, corpus, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "recipes")
    check(tmp_path / "recipes" / f"{name}.yaml", corpus)


def test_the_example_of_questions_from_start_to_end(pages, tmp_path):
    shutil.copytree(EXAMPLES.with_name("synthllm"), tmp_path / "synthllm")
    dataset = check(tmp_path / "synthllm" / "run.yaml", pages)
    assert dataset.streams == ["web", "megadocs", "problems_1", "problems_2", "problems_3"]
    told = [each for p in range(192) for each in dataset.explain(p) if each.stream == "problems_3" and each.generation]
    assert told and all(each.walk and 1 <= len(each.walk.documents) <= 2 for each in told)


def check(run_file: Path, corpus: Path) -> StreamingMegadocDataset:
    """Serve and read the run of an example; its dataset."""
    (run_file.parent / "corpus").symlink_to(corpus)
    file = RunFile.load(run_file)
    open_gates = {"same_language": False, "min_shared": 0, "chat": False}  # of a made language
    served = file.model_copy(update={"server": file.server.model_copy(update={"gates": open_gates, "max_lead": 10**6})})
    asyncio.run(asyncio.wait_for(serve_run(served), 120))
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    samples = list(dataset._samples(range(192)))
    assert all(len(sample["input_ids"]) == 256 for sample in samples)
    for stream in dataset.run.synthetic:
        held = total(read_tallies(dataset.store, stream.scope).values())
        assert held.generations > 0.6 * held.items * stream.recipe.round_size, (stream.name, held)
    written = [each for p in range(192) for each in dataset.explain(p) if each.generation is not None]
    told = {(each.style, each.writer) for each in written}
    assert told == {
        tuple(scope.author(r, n))
        for scope in scopes(dataset)
        for r in range(scope.recipe.cycle)
        for n in range(scope.recipe.round_size)
    }
    programs = {stream.name for stream in dataset.run.synthetic if not stream.recipe.is_plain}
    assert all(bool(each.steps) == (each.stream in programs) for each in written)
    for command, *arguments in (
        [cli.commands, "generations", run_file, "--limit", 2],
        [cli.commands, "audit", run_file, "--diversity"],
        [ledger, "verify", run_file],
    ):
        told = CliRunner().invoke(command, [*map(str, arguments)])
        assert told.exit_code == 0, (arguments, told.output, told.exception)
    found = audit(dataset).summary()
    assert found["asked"] == sum(bool(sample["synthetic"]) for sample in samples)
    return dataset


def scopes(dataset):
    return [stream.scope for stream in dataset.run.synthetic]
