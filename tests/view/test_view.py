"""The pages, as a browser asks for them: what they say is what the library says, and nothing is written for it."""

import hashlib
import html
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.auditing.looking import open_stored
from streamdocs.commands.cli import commands
from streamdocs.errors import ConfigError, StoreError
from streamdocs.generations.rejected import RejectedText, rejections
from streamdocs.generations.stored import generations_of
from streamdocs.view import inspector, looking
from streamdocs.view.opening import ReadOnly
from streamdocs.view.pages.frame import passage
from streamdocs.view.serve import View
from viewing import DOCUMENTS, SIGNS, make_viewed, shown, viewed, words

TOKEN = "a-token-of-some-length"

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


def test_what_is_read_of_a_document_is_marked_in_it(client, run_file):
    run, _ = open_stored(run_file)
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    found = ((at, number, each) for at in range(192) for number, each in enumerate(dataset.explain(at)))
    at, number, one = next(each for each in found if each[2].kind == "web" and each[2].offset)
    page = shown(client, f"position?at={at}&stretch={number}")
    box = re.search(r'aria-label="source, document \d+"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
    before, marked = (
        html.unescape(each) for each in re.match(r"(.*?)<mark[^>]*>(.*?)</mark>", box, re.DOTALL).groups()
    )
    tokens, decode = run.corpus.tokens(one.document), run.corpus.tokenizer.decode
    assert before == decode(tokens[: one.offset]).translate(SIGNS) and before
    assert marked == decode(tokens[one.offset :][: one.stop - one.start]).translate(SIGNS)
    assert 'href="#marked"' in page


@pytest.mark.parametrize(
    ("part", "text", "near", "place"),
    [
        ("lo wor", "hello world", 3, (3, 9)),
        ("lo wor", "hello world", 5, (3, 9)),
        ("\ufffdé wor", "né wor", 0, (1, 6)),  # its first token is half a character
        ("hello", "hello", 0, None),
        ("not there", "hello", 2, None),
        ("\ufffd", "hello", 2, None),
        ("ab", "ab" + " " * 50 + "ab", 52, (52, 54)),
    ],
)
def test_a_part_is_found_near_where_it_should_be(part, text, near, place):
    assert inspector.place_of(part, text, near) == place


def test_what_is_marked_far_down_a_text_is_shown():
    text = "x" * 50_000 + "HERE" + "y" * 50_000
    page = str(passage("a text", text, (50_000, 50_004)))
    assert "xx<mark" in page and ">HERE</mark>yy" in page and "48,000 characters" in page and len(page) < 30_000


def test_a_walk_is_a_link_and_its_documents_are_there(client, run_file):
    run, store = open_stored(run_file)
    scope = run.stream("problems").scope
    each = next(each for each in generations_of(store, scope) if each.text)
    drawn = scope.walks(each.document, each.round)[0]
    page = shown(client, f"generation?stream=problems&number={each.document}&round={each.round}&which=0")
    to = f"/graph?stream=problems&edition={scope.edition(each.round)}&walk={drawn.number}"
    assert f'<a href="{html.escape(to)}">' in page and "Documents of its walk" in page
    assert all(f">Document {number}</a>" in page for number in drawn.walk.documents)


def test_rejected_texts_are_of_every_cause_and_of_every_attempt(run_file, tmp_path):
    shutil.copytree(run_file.parent / "store", tmp_path / "store")
    shutil.copy(run_file, tmp_path)
    run, store = open_stored(tmp_path / "run.yaml")
    many = [RejectedText(9, 1, "too short", f"text {number}") for number in range(15)]
    store.update_all(rejections(run.synthetic[0].scope, many))
    with viewed(tmp_path / "run.yaml") as view, httpx.Client(base_url=view.url, timeout=30) as client:
        page = words(shown(client, "rejected"))
        assert "✗ refusal" in page and "✗ too long" in page and "text 14" in page and "text 3" not in page
        assert "15 of the texts that are kept" in page and "Texts 1 to 10 of 17" in page
        onward = re.search(r'<a href="([^"]*)">Further texts', shown(client, "rejected"))[1]
        assert "text 3" in words(shown(client, html.unescape(onward)))


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
    assert re.findall(r'<span class="unseen">(?:topic|key concept) </span>(.*?)</span></li>', page) == [
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
        ("position?at=192", 404, "192 of them are sealed"),
        ("position?at=-1", 400, "at=-1: a whole number from 0 to"),
        ("position?at=%C2%B2", 400, "a whole number from 0 to"),
        ("position?at=99999999999999999999", 400, "a whole number from 0 to 4,611,686,018,427,387,903"),
        ("position?at=4611686018427387904", 400, "a whole number from 0 to 4,611,686,018,427,387,903"),
        ("position?at=5&stretch=99", 404, "stretch 99 of position 5: of the tokens that are shown there are 0 to"),
        ("position?at=5&start=64", 404, "a sequence has those from 0 to 63"),
        ("position?at=5&tokens=yes", 400, "it is one of 0, 1"),
        ("position?at=5&at=6", 400, "it is there 2 times"),
        ("position?position=5", 400, "no such part; it has at, start, stretch, tokens"),
        ("?at=5", 400, "it has nothing of that kind"),
        ("document?number=60", 404, "has 0 to 59"),
        ("document?number=1&stream=other", 404, "those of this run are web, megadocs, problems"),
        ("document?number=1&round=9", 404, "not written yet: the newest round of which something is written is 1"),
        ("document?number=1&round=0&stream=web", 404, "is web text, and has none"),
        ("generation?number=1&round=9&which=0", 404, "is not written yet"),
        ("generation?number=1&round=0&which=9", 404, "a round has those from 0 to 1"),
        ("generation?number=1&round=0&which=0&stream=web", 404, "nothing is written for web text"),
        ("rejected?stream=web", 404, "nothing is written for web text"),
        ("rejected?start=9", 404, "2 are kept"),
        ("search?text=x&where=elsewhere", 400, "it is one of generations, documents, rejected"),
        ("search?text=" + "x" * 201, 400, "201 characters; from 1 to 200"),
        ("graph?edition=3", 404, "those from 1 to 2 are sealed"),
        ("graph?stream=megadocs", 404, "that have a graph are problems"),
        ("search?" + "&".join(f"x{n}=1" for n in range(30)), 400, "asks for too much"),
        ("nothing", 404, "No such page"),
        ("static/../app.py", 404, "No such page"),
        ("static/%2e%2e/app.py", 404, "No such page"),
    ],
)
def test_what_cannot_be_shown_says_why(client, address, status, said):
    answer = client.get(address)
    assert answer.status_code == status and said in words(answer.text)


def test_a_cause_that_there_is_not_is_said_once_causes_are_counted(client):
    for _ in range(50):
        answer = client.get("rejected?cause=nothing")
        if answer.status_code != 200:
            break
        time.sleep(0.1)
    assert answer.status_code == 404 and "too long" in words(answer.text)


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


def test_others_than_this_machine_sign_in(run_file, monkeypatch):
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 can be reached from elsewhere: set --token-env"):
        View(run_file, host="0.0.0.0")
    monkeypatch.setenv("VIEW_TOKEN", TOKEN)
    with viewed(run_file, host="0.0.0.0", token_env="VIEW_TOKEN") as view:
        assert httpx.URL(view.url).host == socket.gethostname().lower()
        url = f"http://127.0.0.1:{httpx.URL(view.url).port}/"
        with httpx.Client(base_url=url, timeout=30) as client:
            for address in ADDRESSES:
                assert client.get(address).status_code == 401
                asked = client.get(address, headers={"Accept": "text/html,*/*"})
                assert asked.status_code == 401 and 'action="/sign-in"' in asked.text and "run.yaml" not in asked.text
            assert client.get("static/view.css").status_code == 200  # for the page that asks
            assert client.get("sign-in?token=wrong").status_code == 403
            assert "/sign-in" in client.get("sign-in").text and "set-cookie" not in client.get("sign-in").headers
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
    asked, told = client.head("search"), client.get("search")
    assert asked.status_code == 200 and asked.headers["content-length"] == told.headers["content-length"]
    assert not asked.content


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


def test_the_command_says_where_beside_another_and_ends_when_it_is_told_to(run_file, client):
    command = [Path(sys.executable).with_name("streamdocs"), "view", run_file, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = re.match(r"(http://127\.0\.0\.1:\d+/) shows ", process.stdout.readline())[1]
            with httpx.Client(base_url=url, timeout=30) as other:
                assert shown(other, "position?at=3") == shown(client, "position?at=3")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert "Position 4" in shown(client, "position?at=4")
        finally:
            process.kill()


def test_without_its_extra_it_says_which(run_file, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("streamdocs.view")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "htpy", None)
    with pytest.raises(ConfigError, match="view needs htpy: install streamdocs with its extra"):
        commands(["view", str(run_file)], standalone_mode=False)


def test_a_port_that_is_taken_is_named(run_file, client):
    with pytest.raises(ConfigError, match=r"--port \d+ of --host 127\.0\.0\.1 cannot be used: .* name another"):
        View(run_file, port=client.base_url.port)
