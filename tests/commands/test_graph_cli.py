"""``streamdocs graph``, and what the other commands say of a run whose questions are about walks."""

import json
import re
from pathlib import Path

import networkx
import pytest
import yaml
from typer.testing import CliRunner

from conftest import TEMPLATE, generate, make_corpus, make_texts
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.commands.cli import commands
from streamdocs.errors import StreamdocsError
from streamdocs.graph.walks import told
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs.streams import GenerationScope
from streamdocs_server.cli import app

DOCUMENTS = 60
GRAPH = {"editions": ["1/4", "1"], "max_share": 1}
PROBLEMS = {"name": "synthllm", "level": 3, "layout": "megadoc", "generations": 2, "per_round": 1, **GRAPH}


def write(folder: Path, corpus: Path, **streams) -> Path:
    """A run file, half web text, and its store, which has nothing of it."""
    halves = {"web": {"share": "1/2"}, **streams}
    fields = {"corpus": str(corpus), "store": "store", "streams": halves}
    writer = {"model": TEMPLATE.model, "revision": TEMPLATE.revision}
    run_file = folder / "run.yaml"
    run_file.write_text(yaml.safe_dump({**fields, "generator": writer, "mix": {"max_seq_len": 64, "window": 32}}))
    LmdbStore(folder / "store").update(b"server", lambda _: b"")
    return run_file


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), make_texts(DOCUMENTS))


@pytest.fixture(scope="module")
def run_file(corpus, tmp_path_factory) -> Path:
    """Of a run whose first round is from the first of two editions, and that has read some of both rounds."""
    folder = tmp_path_factory.mktemp("run")
    run_file = write(folder, corpus, problems={"share": "1/2", "recipe": PROBLEMS})
    store, run = LmdbStore(folder / "store"), Run.of(RunFile.load(run_file), TEMPLATE)
    generate(run, store, blocks=0)  # the concepts alone
    scope = run.stream("problems").scope
    scope.attach(store)
    scope.plans.seal(0, scope.editions.sealed()[0].digest)
    generate(run, store)
    StreamingMegadocDataset.from_run_file(run_file, batch_size=4).ledgers["problems"].manifest(9)
    return run_file


@pytest.fixture
def dataset(run_file) -> StreamingMegadocDataset:
    return StreamingMegadocDataset.from_run_file(run_file, batch_size=4)


@pytest.fixture
def scope(dataset) -> GenerationScope:
    """Of the stream that has a graph."""
    scope = dataset.run.stream("problems").scope
    scope.attach(dataset.store)
    return scope


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def show(*arguments: object) -> str:
    shown = CliRunner().invoke(commands, [*map(str, arguments)])
    assert shown.exit_code == 0, shown.output
    return shown.output


def refused(*arguments: object) -> str:
    """The error of a command that prints nothing."""
    shown = CliRunner().invoke(commands, [*map(str, arguments)])
    assert isinstance(shown.exception, StreamdocsError) and not shown.output, (shown.exception, shown.output)
    return str(shown.exception)


def cells(shown: str) -> list[list[str]]:
    """The rows of all tables."""
    lines = (re.split("[│┃]", line)[1:-1] for line in shown.splitlines() if line.startswith(("│", "┃")))
    return [[cell.strip() for cell in line] for line in lines]


def test_before_any_edition_those_that_will_be_are_listed(corpus, tmp_path):
    run_file = write(tmp_path, corpus, problems={"share": "1/2", "recipe": PROBLEMS})
    shown = show("graph", run_file)
    assert cells(shown)[1:] == [["1", "1/4", "not sealed yet", "", ""], ["2", "1", "not sealed yet", "", ""]]
    assert "walk" not in shown
    for option, value in (("--edition", 1), ("--graphml", tmp_path / "graph.xml")):
        assert refused("graph", run_file, option, value) == f"{option} {value}: no edition of the graph is sealed yet"
    assert not (tmp_path / "graph.xml").exists()


def test_editions_and_figures(run_file, scope):
    first, last = scope.editions.sealed()
    assert (first.documents, last.documents) == (DOCUMENTS // 4, DOCUMENTS)
    listed = [
        [str(each.number), share, str(each.documents), str(each.topics), each.digest.hex()]
        for each, share in ((first, "1/4"), (last, "1"))
    ]
    for options, each in (([], last), (["--edition", 1], first), (["--edition", 2], last)):
        shown = show("graph", run_file, *options)
        edition, rows = scope.editions.load(each.digest), cells(shown)
        assert rows[1:3] == listed and f"edition {each.number}" in map(str.strip, shown.splitlines())
        (topics,) = [row for row in rows if row[0] == "documents of a topic"]
        held = sorted(edition.holders.sizes[: len(edition.topics)].tolist())
        assert topics[1:] == [str(held[0]), *topics[2:4], str(held[-1]), f"{sum(held) / len(held):,.1f}"]
        nodes = f"{len(edition.topics)} topics, {len(edition.concepts)} concepts"
        assert f"{len(edition.documents)} documents, {nodes}; edges: topic-topic " in " ".join(shown.split())
        largest = edition.topics[int(edition.holders.sizes[: len(edition.topics)].argmax())]
        assert f"largest topics: {largest} ({held[-1]}), " in " ".join(shown.split())


@pytest.mark.parametrize("number", [0, 5, 10**9])
def test_a_walk_is_shown_with_its_documents_in_full(number, run_file, dataset, scope):
    for each in scope.editions.sealed():
        walk = scope.editions.walks(each.digest).walk(number)
        shown = show("graph", run_file, "--edition", each.number, "--walk", number)
        assert f"--- walk {number}: {told(walk.topics, walk.concepts)}\n" in shown
        assert told(walk.topics, walk.concepts).count(" → ") == len(walk.topics) + len(walk.concepts) - 2
        first, second = walk.documents
        texts = [f"[document {document}]\n{dataset.corpus.text(document)}\n" for document in (first, second)]
        assert shown.endswith("".join(texts))


@pytest.mark.parametrize("nodes", [None, 4])
def test_an_edition_as_graphml(nodes, run_file, scope, tmp_path):
    editions, path = scope.editions, tmp_path / "graph.graphml"
    show("graph", run_file, "--edition", 1, "--graphml", path, *(["--nodes", nodes] if nodes else []))
    edition, graph = editions.load(editions.sealed()[0].digest), networkx.read_graphml(path)
    assert len(graph) == (nodes or len(edition.names))
    for node, data in graph.nodes.items():
        number = int(node[1:])
        assert (data["name"], data["documents"]) == (edition.names[number], edition.holders.sizes[number])
    held = [{*edition.nodes.row(place).tolist()} for place in range(len(edition.documents))]
    assert graph.edges
    for one, other, weight in graph.edges(data="weight"):
        assert weight == sum({int(one[1:]), int(other[1:])} <= nodes for nodes in held)
    if nodes:
        least = min(data["documents"] for data in graph.nodes.values())
        assert (edition.holders.sizes > least).sum() < nodes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--edition", "0"], "--edition 0: those from 1 to 2 are sealed"),
        (["--edition", "3"], "--edition 3: those from 1 to 2 are sealed"),
        (["--edition", "-1"], "--edition -1: those from 1 to 2 are sealed"),
        (["--walk", "-1"], "--walk -1: they are numbered from 0 to 9223372036854775807"),
        (["--walk", str(10**30)], f"--walk {10**30}: they are numbered from 0 to "),
        (["--stream", "web"], "--stream web: the streams of this run that have a graph are problems"),
        (["--stream", "nobody"], "--stream nobody: the streams of this run that have a graph are problems"),
    ],
)
def test_what_there_is_not_is_one_line(options, said, run_file):
    assert refused("graph", run_file, *options).startswith(said)


def test_runs_without_a_graph_and_files_that_cannot_be_written(run_file, corpus, tmp_path):
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "none" / "graph.xml", "No such file or directory")):
        result = CliRunner().invoke(commands, ["graph", str(run_file), "--graphml", str(path)])
        assert str(result.exception) == f"--graphml {path}: it cannot be written: {why}"
    plain = write(tmp_path, corpus, problems={"share": "1/2", "recipe": {**PROBLEMS, "level": 1}})
    assert refused("graph", plain).startswith("no stream of this run has a graph: those of recipe synthllm at level 3")
    assert "run.yaml cannot be read" in refused("graph", tmp_path / "none" / "run.yaml")


def test_of_several_streams_that_have_a_graph_one_is_chosen(corpus, tmp_path):
    other = {**PROBLEMS, "editions": ["1/3"], "document_chars": 4000}  # other concepts
    streams = {name: {"share": "1/4", "recipe": each} for name, each in (("one", PROBLEMS), ("two", other))}
    run_file = write(tmp_path, corpus, **streams)
    assert cells(show("graph", run_file)) == cells(show("graph", run_file, "--stream", "one"))
    assert [row[1] for row in cells(show("graph", run_file, "--stream", "two"))[1:]] == ["1/3"]
    assert refused("graph", run_file, "--stream", "web").endswith("are one, two")


def test_a_sequence_is_traced_to_its_walks(run_file, dataset, scope):
    """And through them to edition, names and documents."""
    seen = set()
    for position in range(0, 320, 43):
        walks = {segment.walk for segment in dataset.explain(position) if segment.walk}
        if dataset.run.streams[int(dataset[position]["stream"])].name == "web":
            assert not walks
            continue
        shown = show("inspect", run_file, "--position", position)
        lines = [line for line in shown.splitlines() if re.match(r"walk \d+ of edition ", line)]
        expected = set()
        for number, edition in {(walk.number, walk.edition) for walk in walks}:
            walk = scope.editions.walks(scope.editions.sealed()[edition - 1].digest).walk(number)
            expected.add(f"walk {number} of edition {edition}: {told(walk.topics, walk.concepts)}")
            documents = ", ".join(map(str, walk.documents))
            assert f"walk {number} of edition {edition}: {documents}" in " ".join(shown.split())
            seen.add(edition)
        assert {*lines} == expected and len(lines) == len(expected) > 0
    assert seen == {1, 2}


def test_the_audit_tells_editions(run_file, tmp_path):
    shown = show("audit", run_file, "--json", tmp_path / "audit.json")
    authors = json.loads((tmp_path / "audit.json").read_text())["authors"]
    rows = [row for row in cells(shown) if row[0] == "problems" and row[1] == "synthllm-3"]
    assert [int(row[3]) for row in rows] == [row["edition"] for row in authors] == [1, 2]
    assert [row[4] for row in rows] == [f"{row['generations']:,}" for row in authors]


def test_concepts_are_shown_as_generations(run_file, dataset):
    def listed(*options: object) -> list[dict]:
        return [
            json.loads(line) for line in show("generations", run_file, "--json", "--limit", 999, *options).splitlines()
        ]

    concepts, problems = listed("--stream", "(concepts)"), listed("--stream", "problems")
    assert {each["document"] for each in concepts} == {*range(DOCUMENTS)} and len(concepts) == DOCUMENTS
    assert all(each["text"].startswith("level: ") for each in concepts)
    assert all(each["source"] == dataset.corpus.text(each["document"]) for each in concepts)
    assert {each["stream"] for each in problems} == {"problems"} and len(problems) > DOCUMENTS
    assert problems + concepts == listed()
    assert refused("generations", run_file, "--stream", "nobody").endswith("of this run are of problems, (concepts)")


def test_prompts_of_level_3(run_file, dataset):
    def shown(*options: object) -> str:
        result = CliRunner().invoke(app, ["show-prompts", str(run_file), *map(str, options)])
        assert result.exit_code == 0, result.output
        return result.output

    first, later = shown("--document", 7), shown("--document", 7, "--round", 1)
    titles = [
        re.findall("^--- ([^,]+), style [^,]+, step ([^,]+), writer default, document 7, round ", text, re.M)
        for text in (first, later)
    ]
    questions = [("synthllm", "question"), ("synthllm", "answer")]
    assert titles == [[("concepts", "concepts"), *questions], questions]
    concepts, question = first.split("\n--- ")[:2]
    assert dataset.corpus.text(7) in concepts and dataset.corpus.text(7) not in question
    assert all(field in question for field in ("{walk}", "{first}", "{second}")) and "seed 0" in question
