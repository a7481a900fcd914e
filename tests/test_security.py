"""What SECURITY.md promises of the code itself, and of documents that are made to do harm."""

import ast
import json
import time
from pathlib import Path

import pytest

from conftest import OPEN_GATES, generate, make_corpus, make_dataset, make_run, make_texts, read_tokens
from streamdocs import Rephrase, Stitch, Stretch
from streamdocs._base import hashing
from streamdocs.corpus import load_documents, prepare_corpus
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import CorpusError
from streamdocs.generations.encoding import decode_text
from streamdocs.store import LmdbStore
from streamdocs_server.engines.base import Answer, Completion

ROOT = Path(__file__).parent.parent
SOURCES = [path for folder in ("streamdocs", "server", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
#: Modules that make objects, or run what they are given. What multiprocessing sends between a trainer and its own
#: workers is pickled by torch, and comes from nowhere else.
FORBIDDEN = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "jinja2",
    "mako",
}


def test_nothing_is_unpickled_evaluated_or_made_by_a_template_language():
    assert len(SOURCES) > 60
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not FORBIDDEN & {name.name.partition(".")[0] for name in node.names}, where
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in FORBIDDEN, where
            if isinstance(node, ast.Call):
                check_call(node, where)


def check_call(node: ast.Call, where: str) -> None:
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    assert name not in ("eval", "exec", "compile", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"), where
    assert given.get("shell", "False") == given.get("allow_pickle", "False") == "False", where
    assert given.get("trust_remote_code", "False") == "False", where
    if name == "torch.load":  # which unpickles tensors and plain containers alone, where it is told to
        assert given.get("weights_only") == "True", where
    if name == "yaml.load":  # a SafeLoader with fewer powers
        assert ast.unparse(node.args[1]) == "_Loader" and where.partition(":")[0].endswith("_base/untrusted.py"), where


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/passwd",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "",
        "C:x",
        "x\x00y",
        "x\ny",
        "x" * 300,
        "ü",
        "~",
        "%2e%2e",
    ],
)
def test_no_name_in_an_index_leaves_its_folder(tmp_path, name):
    from streamdocs.corpus.files import SHARDS_FILE, load_index, save_index, split_digest

    corpus = make_corpus(tmp_path, make_texts(5))
    remote = tmp_path / "remote"
    corpus.rename(remote)
    shards, index = json.loads((remote / "train" / SHARDS_FILE).read_bytes()), load_index(remote)
    shards["shards"][0]["raw_data"]["basename"] = name
    (remote / "train" / SHARDS_FILE).write_text(json.dumps(shards))
    index["splits"]["train"]["digest"] = split_digest(remote / "train", index["tokenizer"]["digest"])
    save_index(remote, index)
    (tmp_path / "x").write_text("outside")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorpusError, match=r"index\.json is not what `streamdocs prepare` writes"):
        Corpus(tmp_path / "local", str(remote))
    assert sorted(path for path in tmp_path.iterdir() if path.name != "local") == before
    save_index(remote, {**index, "splits": {name: index["splits"]["train"]}})
    with pytest.raises(CorpusError, match=r"corpus\.json is not what `streamdocs prepare` writes"):
        Corpus(tmp_path / "other", str(remote), split=name)


class Echo:
    """Answers with the document that it was asked for."""

    async def model(self):
        return "template", "1"

    async def fit(self, request):
        return request

    async def generate(self, request, seed):
        return Answer(tuple(Completion(request.prompt, "stop", 1) for _ in range(request.n)), 1)


@pytest.fixture
def short_hash(monkeypatch):
    """Every xxh3-128 is one of four: of documents, of keys, of all."""
    whole = hashing.xxhash.xxh3_128_digest

    def short(data: bytes) -> bytes:
        return bytes([whole(data)[0] & 3]) + bytes(15)

    for module in ("_base.hashing", "recipes.keys"):
        monkeypatch.setattr(f"streamdocs.{module}.digest128", short)
    return short


def test_documents_and_keys_that_collide_never_give_one_the_text_of_another(short_hash, tmp_path):
    texts = make_texts(30, most_words=12)
    corpus = make_corpus(tmp_path, texts)
    assert len(load_documents(corpus)) == 30  # none was taken for another's duplicate
    assert len({bytes(row["digest"])[:16] for row in load_documents(corpus)}) <= 4
    recipe = Stitch(generations=1, prompt="{document}")
    run = make_run(corpus, recipe)
    store = LmdbStore(tmp_path / "store")
    generate(run, store, engine=Echo(), gates=OPEN_GATES)
    keys = [run.stream().scope.keyring.key(run.corpus.document_digest(document), 0) for document in range(30)]
    assert len({key.digest for key in keys}) <= 4 and len({key.check for key in keys}) == 30
    delivered = 0
    with store.read() as snapshot:
        for document, key in enumerate(keys):
            text, tokens = (
                decode_text(key, snapshot.get("texts", key.digest)),
                read_tokens(snapshot, run.stream().scope, document, 0),
            )
            assert (text is None) == (tokens is None)
            if text:
                assert text.texts == [run.corpus.text(document)]
                assert run.corpus.tokenizer.decode(tokens.generation(0)) == run.corpus.text(document)
                delivered += 1
    assert 1 <= delivered <= 4  # the first of each key; the others are misses


def prepare(tmp_path, texts, **options):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    options = {"train_tokenizer": 300, "progress": False, "max_bad": 100, **options}
    return prepare_corpus([str(source)], tmp_path / "corpus", **options)


HUGE = {
    "one word": "a" * 10_000_000,
    "one line of words": "river stone " * 85_000,
    "digits": "1234567890" * 100_000,
    "spaces": "x" + " " * 1_000_000 + "x",
    "newlines": "x" + "\n" * 1_000_000 + "x",
    "marks": "e" + "\u0301" * 500_000,
    "braces": "{document}" * 100_000,
}


@pytest.mark.parametrize("kind", HUGE)
def test_huge_documents_become_tokens_and_prompts_in_bounded_time(tmp_path, kind):
    began = time.monotonic()
    report = prepare(tmp_path, [HUGE[kind], "A short one."])
    assert report["rows"] == 2 and not report["bad"]
    run = make_run(tmp_path / "corpus", Rephrase(generations=1))
    sizes = [len(run.corpus.text(document)) for document in range(2)]
    assert max(sizes) == len(HUGE[kind])
    document = sizes.index(max(sizes))
    assert run.corpus.tokenizer.decode(run.corpus.tokens(document)) == HUGE[kind]
    generate(run, LmdbStore(tmp_path / "store"), gates=OPEN_GATES)
    assert time.monotonic() - began < 120


def test_a_hundred_thousand_times_the_same_is_one_document(tmp_path):
    report = prepare(tmp_path, ["The river rises in the north."] * 100_000)
    assert (report["rows"], report["duplicates"], report["bad"]) == (100_000, 99_999, {})
    store = LmdbStore(tmp_path / "store")
    generate(make_run(tmp_path / "corpus", Stitch(generations=2)), store)
    dataset = make_dataset(tmp_path / "corpus", store)
    assert all(len(dataset[position]["input_ids"]) == 64 for position in range(64))


@pytest.mark.parametrize("text", ["a", "a b", "é", "\u0301", "\x00", "𝒳"])
def test_fewer_tokens_than_cuts(tmp_path, text):
    recipe = Stretch(generations=16, per_round=4)
    prepare(tmp_path, [text])
    run, store = make_run(tmp_path / "corpus", recipe), LmdbStore(tmp_path / "store")
    assert len(run.corpus.tokens(0)) < 16
    generate(run, store)
    dataset = make_dataset(tmp_path / "corpus", store, recipe=recipe, max_seq_len=2048, window=4)
    pieces = [each for position in range(4) for each in dataset.explain(position)]
    assert {"web", "mark", "thought"} <= {each.kind for each in pieces}


def test_bad_rows_are_named_and_the_rest_goes_on(tmp_path):
    source = tmp_path / "in.jsonl"
    lines = [
        b'{"text": "good"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'{"text": ""}',
        b"[" * 100_000,
        b'{"text": 5}',
        b'{"text": "fine"}',
    ]
    source.write_bytes(b"\n".join(lines))
    report = prepare_corpus([str(source)], tmp_path / "corpus", train_tokenizer=300, progress=False, max_bad=10)
    assert {(each["row"], each["cause"]) for each in report["bad_examples"]} == {
        (2, "invalid UTF-8"), (3, "invalid UTF-8"), (4, "empty"), (5, "not JSON"), (6, "not a string"),
    }  # fmt: skip
    assert report["rows"] == 7 and len(load_documents(tmp_path / "corpus")) == 2
