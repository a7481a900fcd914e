"""The pages in Chromium: `make view-test`. $SHOTS names a folder for screenshots, to be looked at."""

import os
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from conftest import generate
from streamdocs.auditing.looking import open_stored
from streamdocs.store import LmdbStore
from streamdocs.view import searching
from viewing import make_viewed, viewed

if not os.environ.get("VIEW_TEST"):
    pytest.skip("`make view-test` drives a browser", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: A phone, a tablet, a desk.
WIDTHS = (360, 768, 1440)
#: Dark has other colours, and nothing else: one width shows what axe says of them.
LOOKS = [*((width, "light") for width in WIDTHS), (WIDTHS[0], "dark")]
LOOKS += [(width, "dark") for width in WIDTHS[1:] if os.environ.get("SHOTS") or os.environ.get("EXHAUSTIVE")]
PAGES = {
    "run": "",
    "position": "position?at=40",
    "tokens": "position?at=40&tokens=1",
    "document": "document?number=5",
    "generation": "generation?stream=problems&number=3&round=1&which=0",
    "rejected": "rejected",
    "search": "search?text=alert",
    "graph": "graph",
    "walk": "graph?edition=2&walk=11",
    "error": "position?at=9999",
}


#: What of a page is partly outside of it, but for what can be scrolled to.
CUT_OFF = """[...document.querySelectorAll("main *")].filter((each) => {
  const { left, right, width } = each.getBoundingClientRect();
  const inside = each.parentElement.closest(".scroll, .text, .plain, svg") || each.matches(".unseen");
  return width && !inside && (left < 0 || right > document.documentElement.clientWidth + 0.5);
}).map((each) => each.outerHTML.slice(0, 200))"""
#: How much of its box the narrowest bar of a stream takes.
BARS = """Math.min(...[...document.querySelectorAll(".stream > .bar")].map((each) =>
  each.getBoundingClientRect().width / each.parentElement.getBoundingClientRect().width))"""


def beside(what, *arguments, **options):
    """What a function returns that runs an event loop of its own: Playwright's runs in this thread."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(what, *arguments, **options).result(120)


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    """That of $VIEW_RUN, for screenshots of another run; default a small one with texts that mean harm."""
    named = os.environ.get("VIEW_RUN")
    return Path(named) if named else beside(make_viewed, tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def browser():
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "there is no Chromium: `make chromium` installs Debian's, or name one in $CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] * (os.geteuid() == 0))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(run_file):
    with viewed(run_file) as view:
        yield view.url


def watched(browser: Browser, **options) -> tuple[Page, list[str]]:
    """A page, and whatever it complains of, asks for elsewhere or runs that it should not."""
    page, said = browser.new_context(**options).new_page(), list[str]()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: said.append(request.url) if "127.0.0.1" not in request.url else None)
    return page, said


def go(page: Page, url: str, name: str) -> None:
    """To a page, once all of it is there."""
    page.goto(url + PAGES[name])
    if name == "run":
        expect(page.locator("main")).not_to_contain_text(re.compile("being counted|next look"))


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_pages_fit_and_have_no_serious_finding(browser, url, width, scheme):
    page, said = watched(browser, color_scheme=scheme, viewport={"width": width, "height": 900})
    axe, shots = Axe(), os.environ.get("SHOTS")
    for name in PAGES:
        go(page, url, name)
        if shots:
            page.screenshot(path=f"{shots}/{name}-{width}-{scheme}.png", full_page=True)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{name} is {over} pixels too wide"
        assert page.evaluate(CUT_OFF) == [], name
        if name == "run":
            assert page.evaluate(BARS) > 0.85
        found = axe.run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        told = {each["id"]: [node["html"][:200] for node in each["nodes"]] for each in serious}
        assert not told, f"{name}: {told}"
    assert [each for each in said if "404 (Not Found)" not in each] == []
    page.context.close()


def test_a_run_is_followed_until_somebody_stops_it(browser, run_file, tmp_path):
    if os.environ.get("VIEW_RUN"):
        pytest.skip("another run is looked at")
    shutil.copytree(run_file.parent / "store", tmp_path / "store")
    fields = yaml.safe_load(run_file.read_text())
    fields["streams"]["megadocs"]["recipe"]["rounds"] = 4
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    run, store = open_stored(tmp_path / "run.yaml")
    with viewed(tmp_path / "run.yaml") as view:
        page, said = watched(browser)
        go(page, view.url, "run")
        live = page.locator("#live")
        expect(live).to_contain_text("120 documents × rounds of 240")
        live.locator("details summary").first.click()
        page.locator("h1").click()  # who is at something within is not disturbed
        page.evaluate("document.activeElement.blur()")
        beside(generate, run, LmdbStore(store.location), blocks=10)
        expect(live).to_contain_text("152 documents × rounds of 240", timeout=30_000)
        assert live.locator("details").first.get_attribute("open") is not None  # what was opened stays open
        page.get_by_role("button", name="Stop following").click()
        expect(page.get_by_role("button", name="Follow the run")).to_be_visible()
        before = live.inner_text()
        beside(generate, run, LmdbStore(store.location), first=10, blocks=12)
        time.sleep(9)  # two looks
        assert live.inner_text() == before and not said
        page.context.close()


def test_a_store_that_is_taken_away_is_said(browser, run_file, tmp_path):
    shutil.copytree(run_file.parent / "store", tmp_path / "store")
    shutil.copy(run_file, tmp_path / "run.yaml")
    with viewed(tmp_path / "run.yaml") as view:
        page, _ = watched(browser)
        go(page, view.url, "run")
        shutil.rmtree(tmp_path / "store")
        said = page.locator(".live-bar")
        expect(said).to_contain_text(
            "What is shown is old: what was shown here was replaced or taken away", timeout=30_000
        )
        shutil.copytree(run_file.parent / "store", tmp_path / "store")
        expect(said).to_contain_text("Looks again", timeout=30_000)
        assert page.locator("#live.old").count() == 0
        page.context.close()


def test_a_search_goes_on_by_itself_until_it_is_stopped_or_found_enough(browser, url, monkeypatch):
    monkeypatch.setattr(searching, "_SECONDS", 0.0)  # a page looks at one block
    page, said = watched(browser)
    page.goto(url + "search?text=nowhere")
    expect(page.locator("#looked")).to_contain_text("0 texts on this page; 120 documents × rounds looked at")
    assert page.locator("#onward").count() == page.get_by_role("button", name="Stop looking").count() == 0
    page.goto(url + "search?text=river")
    expect(page.get_by_role("link", name="Look further")).to_be_visible()
    expect(page.get_by_role("button", name="Stop looking")).to_have_count(0)
    articles = page.locator("#found > article").count()
    assert articles >= searching.MOST_FOUND and page.locator("#hits").inner_text() == f"{articles} texts" and not said
    slowly = threading.Event()
    page.route("**/search?*start=*", lambda route: (slowly.wait(0.3), route.continue_()))
    page.goto(url + "search?text=nowhere")
    page.get_by_role("button", name="Stop looking").click()
    expect(page.get_by_role("button", name="Stop looking")).to_have_count(0)
    assert page.get_by_role("link", name="Look further").count() == 1
    page.context.close()


def test_what_is_marked_is_scrolled_to(browser, run_file, url):
    if os.environ.get("VIEW_RUN"):
        pytest.skip("another run is looked at")
    page, _ = watched(browser, viewport={"width": 360, "height": 900})
    page.goto(url + "document?number=0")
    page.evaluate(
        """() => {
          const box = document.querySelector(".text");
          box.innerHTML = "before<br>".repeat(400) + "<mark id=marked>here</mark>" + "<br>after".repeat(400);
        }"""
    )
    page.add_script_tag(url="/static/view.js")
    top, box = (page.locator(each).first.bounding_box() for each in ("#marked", ".text"))
    assert box["y"] <= top["y"] <= box["y"] + box["height"]
    page.context.close()


def test_a_keyboard_is_enough(browser, url):
    page, said = watched(browser)
    go(page, url, "position")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_label("Position, 0 to").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Position 7")
    page.get_by_role("link", name="stretch 0").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stretch-title")).to_have_text("Stretch 0")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert page.evaluate("document.activeElement === document.body") or outline != "none"
        reached.add(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert (
        "tokens of the sequence" in reached
        and any(each and each.startswith("source, document") for each in reached)
        and not said
    )
    page.context.close()


def test_without_scripts_every_page_is_there(browser, url):
    page, _ = watched(browser, java_script_enabled=False)
    for address in PAGES.values():
        page.goto(url + address)
        assert page.locator("h1").inner_text()
        assert page.locator("button", has_text="following").count() == 0
    page.goto(url)
    assert page.locator("svg[role=img]").count() >= 3
    page.context.close()


def test_what_would_stand_in_a_page_by_mistake_does_not_run(browser, url):
    page, said = watched(browser)
    go(page, url, "document")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.harmed=1>')")
    script = "const made = document.createElement('script'); made.textContent = 'window.harmed=1'"
    page.evaluate(f"{script}; document.body.append(made)")
    page.wait_for_timeout(300)
    assert page.evaluate("window.harmed") is None
    assert any("Content Security Policy" in each for each in said)
    page.context.close()
