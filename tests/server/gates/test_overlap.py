"""Texts that training must not read: what has words in common with them is found, and nothing else."""

import asyncio
import json
import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import OPEN_GATES, make_corpus, make_loop, make_run, make_texts
from streamdocs import RunFile
from streamdocs.commands.generations import generations_of
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError, CorpusError
from streamdocs.generations.progress import read_tallies, total
from streamdocs.recipes import Rephrase, Request
from streamdocs.store import LmdbStore
from streamdocs_server.cli import make_gates
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Accepted, Gates, Rejected
from streamdocs_server.gates.overlap import LEAST_WORDS, Protected, load_protected
from streamdocs_server.gates.words import Words
from streamdocs_server.work.retire import reopen

QUESTION = "A train leaves Bern at nine and reaches Zürich, 122 km away, an hour later. How fast was it?"
CHINESE = "光合作用是植物利用光能将二氧化碳和水转化为有机物并释放氧气的过程它发生在叶绿体中"


def overlap(protected: Protected, text: str) -> str | None:
    return protected.overlap(Words(text))


def naive(protected: list[list[str]], text: list[str], most: int) -> bool:
    """Whether any run of words is in both, by trying all."""
    for each in protected:
        length = min(most, len(each))
        runs = {tuple(each[i : i + length]) for i in range(len(each) - length + 1)}
        if length >= LEAST_WORDS and any(tuple(text[i : i + length]) in runs for i in range(len(text) - length + 1)):
            return True
    return False


words = st.lists(st.sampled_from("abc"), max_size=40)


@settings(max_examples=300)
@given(st.lists(words, max_size=6), words, st.integers(8, 16))
def test_what_is_found_is_what_all_runs_side_by_side_say(protected, text, most):
    found = overlap(Protected(map(" ".join, protected), most), " ".join(text))
    assert (found is not None) == naive(protected, text, most)
    if found is not None:
        said = found.split()
        assert " ".join(said) in " ".join(text) and LEAST_WORDS <= len(said) <= most


def test_many_texts_and_each_run_of_them():
    texts = make_texts(2000, seed=3)
    protected = Protected(texts)
    assert len(protected) == len(
        {
            tuple(listed[i : i + 13])
            for listed in (Words(text).listed for text in texts)
            for i in range(len(listed) - 12)
        }
        | {tuple(listed) for listed in (Words(text).listed for text in texts) if 8 <= len(listed) < 13}
    )
    rng = random.Random(0)
    for text in rng.sample(texts, 300):
        listed = Words(text).listed
        start = rng.randint(0, max(len(listed) - 13, 0))
        run = listed[start : start + 13]
        found = overlap(protected, f"It said: {' '.join(run).upper()}!")
        assert found == " ".join(run) if len(run) == 13 else len(run) < LEAST_WORDS or found == " ".join(run)
    assert not any(overlap(protected, text) for text in make_texts(300, seed=4) if "Document" not in text[:8])


@pytest.mark.parametrize("shown", [str.upper, lambda text: text.replace(",", " –"), lambda text: f"# Q: **{text}**"])
def test_case_and_punctuation_do_not_hide_words(shown):
    protected = Protected([QUESTION])
    told = overlap(protected, f"Here is one. {shown(QUESTION)} Well?")
    assert told == "a train leaves bern at nine and reaches zürich 122 km away an"
    middle = " ".join(QUESTION.split()[3:15])  # 12 words
    assert overlap(protected, middle) is None and overlap(protected, f"{middle} How") is not None


def test_short_texts_count_as_a_whole_but_phrases_do_not():
    protected = Protected(["What is the capital of the old kingdom?", "What is the capital?", "", "?!"])
    assert len(protected) == 1
    assert overlap(protected, "Tell me: what is the capital of the old kingdom, and why?")
    assert overlap(protected, "What is the capital of the new kingdom?") is None
    assert overlap(Protected([]), "anything") is None and overlap(protected, "") is None


def test_characters_of_scripts_without_spaces_count_half():
    protected = Protected([CHINESE])
    assert overlap(protected, f"他说:{CHINESE[:26]}") is not None
    assert overlap(protected, f"他说:{CHINESE[:25]}") is None
    assert overlap(Protected([CHINESE[:15]]), CHINESE) is None  # a phrase
    assert overlap(Protected([CHINESE[:16]]), CHINESE) is not None


def test_the_gate():
    gates = Gates(protected=Protected([QUESTION]))
    request = Request(
        kind="rephrase", template="", fields={"document": f"{QUESTION} It was a slow train."}, n=1, max_tokens=99
    )
    assert gates.check(f"A puzzle about trains. {QUESTION}", "stop", request) == Rejected("contaminated")
    other = "Some train needs an hour from Bern to Zürich, which are 122 km apart. What is its speed?"
    assert gates.check(other, "stop", request) == Accepted(other)


ROWS = [
    {"question": QUESTION, "answer": "122 km an hour", "id": 17},
    {
        "ctx": {"body": "The cook cuts the onions and then"},
        "endings": ["she puts all of them into the very hot pan", "no"],
    },
    {"answerKey": "B", "text": "Which of these things is the best source of heat in winter", "labels": [1, 2]},
]
FOUND = [QUESTION, ROWS[1]["endings"][0], ROWS[2]["text"]]


def run_file(tmp_path, corpus, **decontaminate) -> RunFile:
    path = tmp_path / "run.yaml"
    fields = {
        "corpus": str(corpus),
        "store": "store",
        "recipe": {"name": "rephrase", "generations": 2},
        "server": {"decontaminate": decontaminate},
    }
    path.write_text(json.dumps(fields))
    return RunFile.load(path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("whole"), make_texts(20))


@pytest.fixture(scope="module")
def with_holdout(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("held"), make_texts(60), holdout=0.3)


@pytest.mark.parametrize("kind", ["a.jsonl", "a.parquet", "a.arrow", "folder"])
def test_every_string_of_a_benchmark_counts(tmp_path, corpus, kind):
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    if kind == "folder":
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "rows.json").write_text(rows)
        (tmp_path / kind / "dataset_info.json").write_text(json.dumps({"description": "nine words " * 9}, indent=1))
    elif kind == "a.jsonl":
        (tmp_path / kind).write_text(rows)
    else:
        names = sorted({name for row in ROWS for name in row})
        table = pa.table({name: [row.get(name) for row in ROWS] for name in names})
        table = table.append_column("image", pa.array([b"\xff\xd8" * 9] * len(ROWS)))
        if kind == "a.parquet":
            pq.write_table(table, tmp_path / kind)
        else:
            with pa.OSFile(str(tmp_path / kind), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
    protected = make_gates(run_file(tmp_path, corpus, files=[kind])).protected
    assert [overlap(protected, text) is not None for text in FOUND] == [True] * 3
    assert overlap(protected, "nine words " * 9) is None and overlap(protected, ROWS[1]["ctx"]["body"]) is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.jsonl", None, "none.jsonl does not exist"),
        ("a.csv", "x", "of no kind that can be read"),
        ("a.jsonl", '{"question": "cut off', r"a.jsonl, row 1: not JSON"),
        ("a.jsonl", '[{"question": "one array"}]', r"row 1: not an object \(`jq -c '.\[\]'`"),
        ("a.jsonl", '{"question": "too few words to say"}', "a.jsonl has no text of 8 words or more"),
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("a.parquet", "PAR1", "a.parquet, row 1: Parquet"),
        ("a.txt", b"\xff\xfe", "a.txt, row 1: invalid UTF-8"),
    ],
)
def test_a_benchmark_that_cannot_be_read_is_told_at_the_start(tmp_path, corpus, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=f"server.decontaminate: .*{said}"):
        make_gates(run_file(tmp_path, corpus, files=name))


def test_nothing_to_compare_with_is_told(tmp_path, corpus, with_holdout):
    for which, more in ((corpus, {}), (with_holdout, {"held_out": False})):
        with pytest.raises(ConfigError, match=r"server.decontaminate: there is nothing to compare with.*--holdout"):
            make_gates(run_file(tmp_path, which, **more))
    with pytest.raises(ConfigError, match="words"):
        run_file(tmp_path, corpus, words=3)


def test_without_a_word_in_the_file_it_is_what_the_corpus_holds_out(tmp_path, corpus, with_holdout):
    file = RunFile(corpus=str(with_holdout), mix={"synthetic_fraction": 0})
    assert make_gates(file).protected is None
    held_out = Corpus(with_holdout, split="holdout")
    protected = load_protected(file)
    texts = map(held_out.text, range(len(held_out.documents)))
    assert all(overlap(protected, text) for text in texts if len(Words(text).listed) >= LEAST_WORDS)
    assert len(load_protected(RunFile(corpus=str(corpus), mix={"synthetic_fraction": 0}))) == 0


def test_what_is_held_out_is_downloaded_and_has_to_be_intact(tmp_path, with_holdout):
    here = tmp_path / "here"
    file = RunFile(corpus=str(here), remote=str(with_holdout), mix={"synthetic_fraction": 0})
    assert len(load_protected(file)) == len(load_protected(RunFile(corpus=str(with_holdout), mix=file.mix))) > 0
    (shard,) = (here / "holdout").glob("*.mds")
    damaged = bytearray(shard.read_bytes())
    damaged[-400:] = bytes(400)
    shard.write_bytes(damaged)
    with pytest.raises(CorpusError, match=r"holdout.*damaged"):
        load_protected(file)


class Leaking(TemplateEngine):
    """Adds a text to every third answer, for as long as there is one."""

    leaked = ""
    asked = 0

    async def generate(self, request, seed):
        answer = await super().generate(request, seed)
        self.asked += 1
        if self.leaked and self.asked % 3 == 0:
            completions = [replace(each, text=f"{each.text}\n\n{self.leaked}") for each in answer.completions]
            return replace(answer, completions=completions)
        return answer


def test_what_a_corpus_holds_out_never_becomes_training_text(tmp_path, with_holdout):
    held_out = Corpus(with_holdout, split="holdout")
    texts = list(map(held_out.text, range(len(held_out.documents))))
    run, store = make_run(with_holdout, Rephrase(generations=2)), LmdbStore(tmp_path / "store")
    gates = replace(OPEN_GATES, protected=make_gates(run_file(tmp_path, with_holdout)).protected)
    engine, scope = Leaking(), run.stream().scope
    engine.leaked = next(text for text in texts if len(text.split()) > 40)[30:200]
    asyncio.run(make_loop(run, store, engine=engine, gates=gates).run())
    counts = total(read_tallies(store, scope).values())
    assert counts.rejected.keys() == {"contaminated"} and counts.generations > counts.rejected["contaminated"] > 0
    found = [each for each in generations_of(store, scope) if each.text]
    assert {each.cause for each in found} == {None, "contaminated"}
    assert all((engine.leaked in each.text) == (each.cause == "contaminated") for each in found)
    # Asked again for that cause alone, it is all there.
    causes = reopen(store, [scope], ["contaminated"])
    loop = make_loop(run, store, gates=gates)
    for lane in loop.lanes:
        lane.resolver = replace(lane.resolver, again=causes)
    asyncio.run(loop.run())
    after = total(read_tallies(store, scope).values())
    assert not after.rejected and after.generations == counts.generations + counts.rejected["contaminated"]
