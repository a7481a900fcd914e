"""The pages, as a browser asks for them: what they say is what the library says, and nothing is written for it."""

import hashlib
import html
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from conftest import generate, read_only
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.auditing.looking import open_stored
from streamdocs.commands.cli import commands
from streamdocs.errors import ConfigError, StoreError
from streamdocs.generations.stored import generations_of
from streamdocs.ledger.file import export_ledger
from streamdocs.store import LmdbStore
from streamdocs.view import inspector, looking
from streamdocs.view.opening import ReadOnly
from streamdocs.view.serve import View
from viewing import DOCUMENTS, MEGADOCS, make_viewed, viewed

TOKEN = "a-token-of-some-length"
SIGNS = {0: r"\x00", 27: r"\x1b", 0x202E: r"\u202e"}

ADDRESSES = [
    *("", "position", "position?at=5&tokens=1", "position?at=40&stretch=0", "document?number=5"),
    *("document?number=5&stream=problems", "document?number=5&stream=web", "document?number=5&round=0"),
    *("generation?number=5&round=1&which=1", "generation?number=5&round=0&which=0&stream=problems"),
    *("rejected", "rejected?cause=refusal", "search", "search?text=alert", "search?text=alert&where=documents"),
    *("search?text=alert&where=rejected", "graph", "graph?edition=1&walk=3"),
]


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    return make_viewed(tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def client(run_file):
    with viewed(run_file) as view, httpx.Client(base_url=view.url, timeout=30) as client:
        yield client


def shown(client: httpx.Client, address: str) -> str:
    """A page, once it is there."""
    for _ in range(100):
        answer = client.get(address)
        if answer.status_code != 202:
            break
    assert answer.status_code == 200, answer.text
    return answer.text


def words(page: str) -> str:
    """The text of a page."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_is_of_this_place_alone_and_texts_are_text(client, address):
    page = shown(client, address)
    assert page.startswith('<!doctype html><html lang="en">') and page.count("<h1>") == 1
    assert "<script>alert" not in page and "<img" not in page
    assert re.findall(r"<script[^>]*>", page) == ['<script src="/static/view.js" defer>']
    assert not re.search(r"<[^>]*\s(style|on\w+)=", page)
    assert all(to.startswith(("/", "#")) for to in re.findall(r'(?:src|href|action)="([^"]*)"', page))
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)
    headers = client.get(address).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"


def test_harm_is_shown_as_it_is(client):
    page = words(shown(client, "document?number=0"))
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in page
    assert r"A text with \x00, \x1b[2J and \u202e turned about" in words(shown(client, "document?number=5"))


@pytest.mark.parametrize("position", [0, 17, 33, 100, 191])
def test_a_position_has_the_tokens_and_the_account_of_the_dataset(client, run_file, position):
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    page = shown(client, f"position?at={position}")
    segments = dataset.explain(position)
    account = page[page.index("<h2>Account") :]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", account)[1:]]
    assert [words(row[1]) for row in rows] == [f"{each.start}:{each.stop}" for each in segments]
    assert [row[2] for row in rows] == [each.kind for each in segments]
    assert [words(row[5]) for row in rows] == [str(each.document) for each in segments]
    tokens = dataset[position]["input_ids"].numpy()
    sequence = re.search(r'aria-label="tokens of the sequence"[^>]*>(.*?)</div>', page, re.DOTALL)[1]
    sequence = words(re.sub(r'<a class="number-of".*?</a>', "", sequence))
    text = "".join(dataset.corpus.tokenizer.decode(tokens[each.start : each.stop]) for each in segments)
    assert sequence == text.translate(SIGNS)
    one = next((each for each in segments if each.generation), None)
    assert one is None or one.key in page


def test_each_token_is_told_apart(client):
    assert shown(client, "position?at=9&tokens=1").count('<span class="token">') == 64


def test_a_document_has_all_its_generations(client, run_file):
    run, store = open_stored(run_file)
    scope = run.stream("megadocs").scope
    page = shown(client, "document?number=7&stream=megadocs")
    mine = [each for each in generations_of(store, scope) if each.document == 7 and each.number is not None]
    assert len(mine) == 4
    for each in mine:
        assert scope.key(7, each.round).digest.hex() in page
        assert (each.text or f"rejected: {each.cause}") in words(page)
    assert page.count("✓ accepted") == sum(each.text is not None for each in mine)
    older = shown(client, "document?number=7&stream=megadocs&round=0")
    assert "Round 0, generation 1" in older and "Round 1," not in older


def test_a_generation_has_its_prompt_its_answer_and_its_verdict(client, run_file):
    run, store = open_stored(run_file)
    scope = run.stream("problems").scope
    each = next(each for each in generations_of(store, scope) if each.text)
    page = html.unescape(shown(client, f"generation?stream=problems&number={each.document}&round={each.round}&which=0"))
    assert each.text in page and "✓ accepted" in page
    assert page.count("<h4>Prompt</h4>") == page.count("<h4>Answer</h4>") == 2  # a question, and its answer
    drawn = scope.walks(each.document, each.round)[0].walk
    assert all(name in page for name in (*drawn.topics, *drawn.concepts))


def test_rejected_texts_are_found_by_cause(client):
    everything = shown(client, "rejected")
    assert everything.count("<article>") == 2 and "too long" in everything
    one = shown(client, "rejected?cause=refusal")
    assert one.count("<article>") == 1 and "Document 4, round 1" in one


@pytest.mark.parametrize(("where", "text"), [("generations", "river"), ("documents", "DOCUMENT 1")])
def test_a_search_goes_on_until_all_is_looked_at(client, run_file, where, text):
    run, store = open_stored(run_file)
    scope = run.stream("megadocs").scope
    texts = [each.text for each in generations_of(store, scope) if each.text and each.number is not None]
    texts = texts if where == "generations" else [run.corpus.text(document) for document in range(DOCUMENTS)]
    expected = sum(text.lower() in each.lower() for each in texts)
    found, address, pages = 0, f"search?where={where}&text={text}", 0
    while address:
        page = shown(client, address)
        found, pages = found + page.count("<mark>"), pages + 1
        onward = re.search(r'<a href="(/search[^"]*)">Look further', page)
        address = html.unescape(onward[1]) if onward else ""
    assert found == expected > 5 and (pages > 1 or expected <= 20)


def test_the_graph_shows_the_walk_that_a_question_is_about(client, run_file):
    run, _ = open_stored(run_file)
    scope = run.stream("problems").scope
    walk = scope.editions.walks(scope.editions.sealed()[1].digest).walk(11)
    page = html.unescape(shown(client, "graph?edition=2&walk=11"))
    assert re.findall(r'<span class="unseen">(?:topic|key concept) </span>(.*?)</li>', page) == [
        *walk.topics,
        *walk.concepts,
    ]
    assert all(f"Document {each}</a>" in page for each in walk.documents)


def test_the_page_of_a_run_has_its_figures(client):
    page = words(shown(client, ""))
    for _ in range(50):  # the rest is counted meanwhile
        if "What an epoch reads" in page and "counted" not in page:
            break
        page = words(shown(client, ""))
    assert "120 documents × rounds of 120, 100.0%" in page and "6 windows" in page
    assert "Generations a document" in page and "Training reported no losses" in page
    assert "synthllm-3" in page and "none at work" in page


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("position?at=192", 400, "192 of them are sealed"),
        ("position?at=-1", 400, "at=-1: a whole number from 0 on"),
        ("position?at=%C2%B2", 400, "a whole number from 0 on"),
        ("position?at=99999999999999999999", 400, "a whole number from 0 on"),
        ("document?number=60", 400, "has 0 to 59"),
        ("document?number=1&stream=other", 400, "those of this run are web, megadocs, problems"),
        ("generation?number=1&round=9&which=0", 400, "is not written yet"),
        ("generation?number=1&round=0&which=9", 400, "a round has those from 0 to 1"),
        ("generation?number=1&round=0&which=0&stream=web", 400, "nothing is written for web text"),
        ("rejected?stream=web", 400, "nothing is written for web text"),
        ("search?text=x&where=elsewhere", 400, "it is one of generations, documents, rejected"),
        ("search?text=" + "x" * 201, 400, "201 characters; from 1 to 200"),
        ("graph?edition=3", 400, "those from 1 to 2 are sealed"),
        ("graph?stream=megadocs", 400, "that have a graph are problems"),
        ("search?" + "&".join(f"x{n}=1" for n in range(30)), 400, "asks for too much"),
        ("nothing", 404, "No such page"),
        ("static/../app.py", 404, "No such page"),
        ("static/%2e%2e/app.py", 404, "No such page"),
    ],
)
def test_what_cannot_be_shown_says_why(client, address, status, said):
    answer = client.get(address)
    assert answer.status_code == status and said in words(answer.text)


def test_looking_writes_nothing(client, run_file):
    store = run_file.parent / "store" / "data.mdb"
    before = hashlib.sha256(store.read_bytes()).digest()
    for address in ADDRESSES:
        shown(client, address)
    assert hashlib.sha256(store.read_bytes()).digest() == before
    only = ReadOnly(RunFile.load(run_file).open_store())
    for write in (only.add, only.add_all, only.replace, only.update, only.update_soon, only.update_all, only.delete):
        with pytest.raises(StoreError, match="only looked at here"):
            write("notes", {})


def test_over_an_exported_ledger_what_is_not_there_is_said(tmp_path):
    run_file = make_viewed(tmp_path, megadocs={"share": "3/4", "recipe": MEGADOCS})
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    export_ledger(dataset.ledgers["megadocs"]).save(tmp_path / "run.ledger")
    accounts = {position: dataset.explain(position) for position in range(64)}
    both = next(at for at, each in accounts.items() if {"rephrase", "web"} <= {one.kind for one in each})
    shutil.rmtree(tmp_path / "store")
    with viewed(run_file, tmp_path / "run.ledger") as view, httpx.Client(base_url=view.url, timeout=30) as client:
        assert "6 windows" in words(shown(client, ""))
        page = words(shown(client, f"position?at={both}"))
        for each in accounts[both]:
            if each.kind == "rephrase":
                assert f"[{each.stop - each.start} tokens that are not here]" in page and each.key in page
            if each.kind == "web":
                tokens = dataset.corpus.tokens(each.document)[each.offset :][: each.stop - each.start]
                assert dataset.corpus.tokenizer.decode(tokens).translate(SIGNS) in page
        assert "An exported ledger has no texts" in shown(client, "document?number=3&stream=megadocs")
        assert client.get("generation?number=3&round=0&which=0").status_code == 400
    assert not (tmp_path / "store").exists()


def test_a_ledger_without_the_plans_that_it_needs_says_so(run_file, tmp_path):
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    files = [tmp_path / name for name in dataset.ledgers]
    for file in files:
        export_ledger(dataset.ledgers[file.name]).save(file)
    of_problems = next(at for at in range(192) if dataset.explain(at)[0].stream == "problems")
    with viewed(run_file, *files) as view, httpx.Client(base_url=view.url, timeout=30) as client:
        answer = client.get(f"position?at={of_problems}")
        assert answer.status_code == 503 and "plan" in words(answer.text)


def test_a_run_that_has_not_begun_appears_when_it_has(run_file, tmp_path):
    later = tmp_path / "run.yaml"
    later.write_text(run_file.read_text())
    with viewed(later) as view, httpx.Client(base_url=view.url, timeout=30) as client:
        answer = client.get("")
        assert answer.status_code == 503 and "there is no store" in words(answer.text)
        assert 'http-equiv="refresh"' in answer.text and not (tmp_path / "store").exists()
        shutil.copytree(run_file.parent / "store", tmp_path / "store")
        assert "6 windows" in words(shown(client, ""))
        assert "Position 3" in shown(client, "position?at=3")


def test_a_store_that_nobody_here_may_write_is_looked_at(as_nobody):
    (as_nobody / "made").mkdir()
    made, run_file = make_viewed(as_nobody / "made", windows=2), as_nobody / "shared" / "run.yaml"
    shutil.copytree(made.parent / "store", run_file.parent / "store")  # which nobody here has open
    shutil.copy(made, run_file)
    with (
        read_only(run_file.parent / "store"),
        viewed(run_file) as view,
        httpx.Client(base_url=view.url, timeout=30) as client,
    ):
        assert RunFile.load(run_file).open_store().is_read_only
        for address in ("", "position?at=9", "document?number=5", "search?text=river", "graph", "rejected"):
            shown(client, address)


def test_what_is_written_meanwhile_shows(run_file, tmp_path):
    shutil.copytree(run_file.parent / "store", tmp_path / "store")
    fields = yaml.safe_load(run_file.read_text())
    fields["streams"]["megadocs"]["recipe"]["rounds"] = 4
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    run, store = open_stored(tmp_path / "run.yaml")
    with viewed(tmp_path / "run.yaml") as view, httpx.Client(base_url=view.url, timeout=30) as client:
        assert "120 documents × rounds of 240, 50.0%" in words(shown(client, ""))
        generate(run, LmdbStore(store.location), blocks=12)
        page = ""
        for _ in range(100):
            if "180 documents × rounds of 240, 75.0%" in page:
                break
            time.sleep(0.1)
            page = words(shown(client, ""))
        else:
            pytest.fail(page)
        assert "known at the next look" not in page


def test_others_than_this_machine_sign_in(run_file, monkeypatch):
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 can be reached from elsewhere: set --token-env"):
        View(run_file, host="0.0.0.0")
    monkeypatch.setenv("VIEW_TOKEN", TOKEN)
    with viewed(run_file, host="0.0.0.0", token_env="VIEW_TOKEN") as view:
        url = view.url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=url, timeout=30) as client:
            for address in (*ADDRESSES, "static/view.css"):
                assert client.get(address).status_code == 401
            assert client.get("sign-in?token=wrong").status_code == client.get("sign-in").status_code == 403
            client.cookies.set("streamdocs", TOKEN)
            assert client.get("search").status_code == 401
            client.cookies.clear()
            answer = client.get(f"sign-in?token={TOKEN}")
            assert answer.status_code == 303 and answer.headers["location"] == "/" and TOKEN not in answer.text
            cookie = answer.headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
            assert client.get("search").status_code == 200
            assert client.get("search", headers={"Cookie": "streamdocs="}).status_code == 401
        assert httpx.get(f"{url}search", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_on_the_loopback_no_other_site_can_have_a_browser_ask(client):
    assert client.get("search", headers={"Host": "example.org"}).status_code == 421
    assert client.post("search").status_code == 405


def test_a_run_file_that_cannot_be_is_told_before_anything_is_served(tmp_path):
    (tmp_path / "run.yaml").write_text("corpus: 5\n")
    with pytest.raises(ConfigError, match="corpus"):
        View(tmp_path / "run.yaml")


def test_what_takes_long_is_taken_up_when_it_is_asked_for_again(run_file, monkeypatch):
    found = []

    def slowly(*arguments, **options):
        found.append(arguments)
        time.sleep(1)
        return sequence(*arguments, **options)

    sequence = inspector.sequence
    monkeypatch.setattr(inspector, "sequence", slowly)
    with viewed(run_file) as view, httpx.Client(base_url=view.url, timeout=30) as client:
        answer = client.get("position?at=3")
        assert answer.status_code == 202 and '<meta http-equiv="refresh" content="2">' in answer.text
        assert "Position 3" in shown(client, "position?at=3") and len(found) == 1
        monkeypatch.setattr(looking, "_MOST_LATE", 2)
        for position in range(4, 9):
            assert client.get(f"position?at={position}").status_code == 202
        assert len(view._looker._look.late) == 2


def test_the_command_says_where_and_ends_when_it_is_told_to(run_file):
    command = [Path(sys.executable).with_name("streamdocs"), "view", run_file, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = re.match(r"(http://127\.0\.0\.1:\d+/) shows ", process.stdout.readline())[1]
            with httpx.Client(base_url=url, timeout=30) as client:
                assert "Position 3" in shown(client, "position?at=3")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_without_its_extra_it_says_which(run_file, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("streamdocs.view")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "htpy", None)
    with pytest.raises(ConfigError, match=r"view needs htpy: pip install 'streamdocs\[view\]'"):
        commands(["view", str(run_file)], standalone_mode=False)


def test_a_port_that_is_taken_is_named(run_file, client):
    with pytest.raises(ConfigError, match=r"--port \d+ of --host 127\.0\.0\.1 cannot be used: .* name another"):
        View(run_file, port=client.base_url.port)
