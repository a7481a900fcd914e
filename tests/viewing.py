"""A run to look at: megadocs of texts that mean harm, and problems about walks through a graph."""

import html
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import yaml

from conftest import OPEN_GATES, TEMPLATE, generate, make_corpus, make_texts
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.generations.rejected import RejectedText, rejections
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs.view.serve import View

DOCUMENTS = 60
#: How pages spell out characters of ``HARM``.
SIGNS = {0: r"\x00", 27: r"\x1b", 0x202E: r"\u202e"}
HARM = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'text' </pre></body>",
    "A text with \x00, \x1b[2J and \u202e turned about, https://example.org/ in it.",
)
WEB, MEGADOCS = {"share": "1/4"}, {"name": "stitch", "generations": 4, "per_round": 2}
PROBLEMS = {
    **{"name": "synthllm", "level": 3, "layout": "megadoc", "generations": 2, "per_round": 1},
    **{"editions": ["1/4", "1"], "max_share": 1},
}


def make_viewed(folder: Path, windows: int = 6, **streams) -> Path:
    """The run file of a run that is all written, and sealed so far."""
    texts = make_texts(DOCUMENTS)
    texts[::5] = [f"{text} {HARM[number % 2]}" for number, text in enumerate(texts[::5])]
    corpus = make_corpus(folder, texts)
    recipes = streams or {
        "megadocs": {"share": "1/2", "recipe": MEGADOCS},
        "problems": {"share": "1/4", "recipe": PROBLEMS},
    }
    fields = {
        **{"corpus": str(corpus), "store": "store", "streams": {"web": WEB, **recipes}},
        "generator": {"model": TEMPLATE.model, "revision": TEMPLATE.revision},
        "mix": {"max_seq_len": 64, "window": 32},
    }
    run_file = folder / "run.yaml"
    run_file.write_text(yaml.safe_dump(fields))
    store, run = LmdbStore(folder / "store"), Run.of(RunFile.load(run_file), TEMPLATE)
    generate(run, store, gates=replace(OPEN_GATES, max_ratio=3, slack=0))
    harmful = [
        RejectedText(number, 1, cause, f"{HARM[0]} {number}") for number, cause in ((3, "too long"), (4, "refusal"))
    ]
    store.update_all(rejections(run.synthetic[0].scope, harmful))
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    for ledger in dataset.ledgers.values():
        ledger.manifest(windows - 1)
    return run_file


@contextmanager
def viewed(run_file: Path, *exported: Path, **options) -> Iterator[View]:
    """Its pages, served."""
    view = View(run_file, exported, **options)
    thread = threading.Thread(target=view.serve, daemon=True)
    thread.start()
    try:
        yield view
    finally:
        view.close()
        thread.join(10)


def answered(client: httpx.Client, address: str) -> httpx.Response:
    """What a page is in the end."""
    for _ in range(100):
        answer = client.get(address)
        if answer.status_code != 202:
            break
    return answer


def shown(client: httpx.Client, address: str, deadline: float = 60.0) -> str:
    """A page, once all of it is there."""
    until = time.monotonic() + deadline
    while True:
        answer = answered(client, address)
        assert answer.status_code == 200, answer.text
        if "eing counted" not in answer.text or time.monotonic() > until:
            return answer.text
        time.sleep(0.1)


def words(page: str) -> str:
    """The text of a page."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))
