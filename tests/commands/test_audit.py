"""The audit against explain, sequence by sequence, and the command that prints it."""

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import (
    OPEN_GATES,
    TEMPLATE,
    generate,
    make_dataset,
    make_loop,
    make_run,
    read_tokens,
    write_run_file,
)
from streamdocs import Program, Rephrase, RunFile, Step, Stitch, StreamingMegadocDataset, Stretch
from streamdocs._base.console import plain_console
from streamdocs.auditing.audit import audit, rejected_causes
from streamdocs.commands.auditing.report import audit_run
from streamdocs.commands.diversity import collapse_lines, diversity_table
from streamdocs.commands.generations import generations_of
from streamdocs.errors import ConfigError
from streamdocs.generations.diversity import Group, Newest, Source, diversity_rows
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.newest import stored_diversity
from streamdocs.run import Run
from streamdocs.schedule.rounds import Block
from streamdocs.store import LmdbStore
from streamdocs_server.gates.overlap import Protected

WINDOWS, SIZE = 5, 32
RUNS = {
    "stitch": (Stitch(generations=4, per_round=2), "reuse"),
    "stretch": (Stretch(generations=3), "reuse"),
    "rephrase": (Rephrase(generations=2, per_round=1), "reuse"),
    "filled": (Stitch(generations=2), "web"),
    "styles": (Stitch(generations=6, per_round=2, styles={"easy": 2, "correct": 1}), "reuse"),
}


@pytest.fixture(scope="module", params=RUNS)
def dataset(request, small_corpus, tmp_path_factory):
    """A run that sealed some windows while its generations grew."""
    recipe, when_behind = RUNS[request.param]
    store = LmdbStore(tmp_path_factory.mktemp(request.param) / "store")
    run = make_run(small_corpus, recipe)
    dataset = make_dataset(small_corpus, store, recipe=recipe, when_behind=when_behind)
    generate(run, store, blocks=2)
    dataset.ledger.manifest(1)
    generate(run, store, blocks=7, first=2)
    dataset.ledger.manifest(WINDOWS - 1)
    return dataset


@settings(max_examples=12, deadline=None)
@given(st.integers(0, WINDOWS * SIZE - 1), st.integers(1, WINDOWS * SIZE))
def test_it_sums_up_what_explain_says(dataset, start, size):
    positions = range(start, min(start + size, WINDOWS * SIZE))
    found = audit(dataset, positions.start, positions.stop)
    kinds, sources, where, windows = Counter(), Counter(), defaultdict(set), defaultdict(Counter)
    authors, written = Counter(), defaultdict(set)
    for position in positions:
        for segment in dataset.explain(position):
            kinds[segment.kind] += segment.stop - segment.start
            if segment.kind != "mark":
                source = (segment.document, segment.generation)
                sources[source] += segment.stop - segment.start
                where[source].add(position)
                if segment.generation:
                    authors[segment.style, segment.writer] += segment.stop - segment.start
                    written[segment.style, segment.writer].add(source)
                    windows[position // SIZE][source] += segment.stop - segment.start
    here = Counter()
    for (_, kind), tokens in found.tokens.items():
        here[kind if kind in ("web", dataset.run.stream().recipe.kind) else "mark"] += tokens
    assert here == kinds
    rows = list(found.rows())
    assert {(row["document"], generation_of(row)): row["tokens"] for row in rows} == sources
    assert {(row["document"], generation_of(row)): set(row["positions"]) for row in rows} == where
    assert all(row["positions"] == sorted(row["positions"]) for row in rows)
    lengths = {(row["document"], generation_of(row)): row["length"] for row in rows}
    assert found.windows() == [
        {
            "window": window,
            "documents": len({document for document, _ in read}),
            "generations": len(read),
            "tokens": read.total(),
            "times": read.total() / sum(lengths[source] for source in read),
        }
        for window, read in sorted(windows.items())
    ]
    assert found.authors() == [
        {
            "stream": "synthetic",
            "style": style,
            "writer": writer,
            "generations": len(written[style, writer]),
            "tokens": n,
        }
        for (style, writer), n in sorted(authors.items())
    ]
    total = found.summary()["sequences"]
    assert total["synthetic"] == sum(bool(dataset[position]["synthetic"]) for position in positions)
    assert total["synthetic"] + total["filler"] == found.summary()["asked"]
    assert sum(total.values()) * 64 == found.tokens.total() == len(positions) * 64
    reuse = Counter(row["tokens"] // row["length"] for row in rows if "round" in row)
    assert found.reuse() == dict(reuse)


def generation_of(row) -> tuple[int, int] | None:
    return (row["round"], row["number"]) if "round" in row else None


def test_lengths_are_those_of_what_was_read(dataset):
    for row in list(audit(dataset).rows())[::7]:
        if "round" in row:
            with dataset.store.read() as snapshot:
                record = read_tokens(snapshot, dataset.run.stream().scope, row["document"], row["round"])
            assert row["length"] == record.lengths[row["number"]]
        else:
            assert row["length"] == len(dataset.corpus.tokens(row["document"]))


def test_web_passes_are_counted_by_tokens(small_corpus):
    dataset = make_dataset(small_corpus, window=1)
    found = audit(dataset)
    assert found.summary()["web_passes"] == [0, dataset.epoch_size * 64 / dataset.run.web[0].tokens]
    assert {row["tokens"] >= row["length"] for row in found.rows()} == {True}
    assert len(list(found.rows())) == 100 and found.reuse() == {}


def test_what_is_not_sealed_cannot_be_audited(dataset):
    for positions in ((0, WINDOWS * SIZE + 1), (WINDOWS * SIZE, None), (-1, 4), (7, 7)):
        with pytest.raises(ConfigError, match=rf"0:{WINDOWS * SIZE}, of the {WINDOWS} sealed windows"):
            audit(dataset, *positions)
    assert dataset.ledger.sealed(WINDOWS) is None


def test_the_report(dataset, tmp_path, capsys):
    run_file = write_run_file(tmp_path / "run.yaml", dataset)
    as_json, plot = tmp_path / "audit.json", tmp_path / "audit.png"
    document = next(audit(dataset).rows())["document"]
    audit_run(run_file, "8:120", document, as_json, plot)
    written = json.loads(as_json.read_text())
    found = audit(dataset, 8, 120)
    assert written.pop("rejected") == rejected_causes(dataset)
    assert written == json.loads(json.dumps({**found.summary(), "sources": list(found.rows())}))
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for expected in ("8:120", f"document {document}", "mixture 3/4: 84 of 112", f"{found.tokens.total():,}"):
        assert expected in printed
    assert ("correct" in printed) == ("style" in printed) == (not dataset.run.stream().recipe.is_plain)
    with pytest.raises(ConfigError, match="like 0:4096"):
        audit_run(run_file, "8:9:10", None, None, None)


def test_what_was_rejected_is_told_by_stream(small_corpus, tmp_path, capsys):
    recipes = {"plain": {"name": "rephrase", "generations": 2}, "whole": {"name": "stitch", "generations": 3}}
    streams = {"web": {"share": "1/2"}, **{name: {"share": "1/4", "recipe": each} for name, each in recipes.items()}}
    fields = {"corpus": str(small_corpus), "store": "store", "streams": streams}
    writer = {"model": TEMPLATE.model, "revision": TEMPLATE.revision}
    run_file, as_json = tmp_path / "run.yaml", tmp_path / "audit.json"
    run_file.write_text(json.dumps({**fields, "generator": writer, "mix": {"max_seq_len": 64, "window": 32}}))
    run = Run.of(RunFile.load(run_file), TEMPLATE)
    free, store = (LmdbStore(tmp_path / name) for name in ("free", "store"))
    generate(run, free)
    texts = [each.text for each in generations_of(free, run.stream("plain").scope)]
    generate(run, store, gates=replace(OPEN_GATES, protected=Protected(texts[::5])))
    expected = {
        stream.name: dict(Counter(each.cause for each in generations_of(store, stream.scope) if each.cause))
        for stream in run.synthetic
    }
    assert expected["plain"]["contaminated"] >= len(texts) // 5
    for ledger in StreamingMegadocDataset.from_run_file(run_file, batch_size=4).ledgers.values():
        ledger.manifest(0)
    capsys.readouterr()
    audit_run(run_file, ":", None, as_json, None)
    assert json.loads(as_json.read_text())["rejected"] == expected
    printed = capsys.readouterr().out
    for name, causes in expected.items():
        told = f"rejected so far, {name}: contaminated {causes.get('contaminated', 0):,}"
        assert (told in printed) == bool(causes)


@pytest.mark.parametrize("recipe", [Rephrase(generations=2), Stitch(generations=3, styles={"easy": 2, "correct": 1})])
def test_the_store_says_how_different_generations_are_as_their_server_did(
    recipe, small_corpus, store, tmp_path, capsys
):
    loop = make_loop(make_run(small_corpus, recipe), store, max_in_flight=1)
    asyncio.run(asyncio.wait_for(loop.run(), 60))
    dataset = make_dataset(small_corpus, store, recipe=recipe)
    run_file, as_json = write_run_file(tmp_path / "run.yaml", dataset), tmp_path / "audit.json"
    capsys.readouterr()
    audit_run(run_file, ":", None, as_json, None, diversity=True)  # though nothing is sealed yet
    (rows,) = json.loads(as_json.read_text()).values()
    told = diversity_rows(loop.statistics.outcome.diversities.measure())
    assert [row["style"] for row in rows] == sorted(recipe.styles or [recipe.name])
    for row, other in zip(rows, told, strict=True):
        for name, value in row.items():
            # Which of two openings is named, and which sequences are the newest, hangs on the order of some answers.
            assert value == (pytest.approx(other[name]) if name not in ("opening", "distinct") else value), name
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80 and "repeated" in " ".join(printed)
    for row in rows:
        assert any(row["style"] in line and f" {row['alike']:.1%} " in line for line in printed)
    dataset.ledger.manifest(0)
    audit_run(run_file, ":", None, as_json, None, diversity=True)
    both = json.loads(as_json.read_text())
    assert both["diversity"] == rows and both["positions"] == [0, SIZE] and both["authors"]


def test_what_has_collapsed_is_printed(capsys):
    text = "\x1b[31mThe same text again and again."
    sound, alike = Newest(), Newest()
    for number in range(200):
        sound.add(f"{number} texts of {number * 7} words", Source("A document."))
        alike.add(text, Source("A document."))
    measured = {
        Group("one", "easy", "x" * 60): sound.measure(),
        Group("two", "hard", "small"): alike.measure(),
        Group("two", "template-facts", "template"): alike.measure(),
    }
    plain_console().print(diversity_table(measured), *collapse_lines(measured), sep="\n", highlight=False)
    printed = capsys.readouterr().out
    assert "style hard by small (two) has collapsed: 99.5% were there before" in " ".join(printed.split())
    assert printed.count("collapsed") == 1 and "\x1b" not in printed


def test_of_many_generations_the_newest_are_measured(large_corpus, store):
    first, second = (
        Program(name=name, steps=(Step(name="text", prompt="{document}"),)) for name in ("first", "second")
    )
    run = make_run(large_corpus, Rephrase(generations=3, per_round=1, styles={first: 2, second: 1}))
    generate(run, store, blocks=63 + 63 + 10)  # two rounds of 1,000 documents, and some of a third
    assert [run.stream().scope.author(round, 0).style for round in range(3)] == ["first", "second", "first"]
    newest = [(0, number) for number in range(10, 63)] + [(2, number) for number in range(10)]
    scope, expected = run.stream().scope, Newest()
    for round, place in newest:
        for document in scope.generation_order.sources_of(Block(round, place)).tolist():
            with store.read() as snapshot:
                key = scope.key(document, round)
                (text,) = decode_text(key, snapshot.get("texts", key.digest)).texts
            expected.add(text, Source(scope.sources.text(document)))
    measured = {group.style: found for group, found in stored_diversity(run, store).items()}
    assert [(style, found.texts) for style, found in measured.items()] == [("first", 1000), ("second", 1000)]
    assert measured["first"] == expected.measure()
