"""A server that is killed between the steps of programs: what was answered is never asked for again."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from conftest import make_corpus, make_texts
from servers import wait_until
from streamdocs import RunFile
from streamdocs.generations.progress import read_tallies, total
from streamdocs.run import Run
from streamdocs.store import LmdbStore

DOCUMENTS = 6


class Writing(ThreadingHTTPServer):
    """A server of the protocol that writes by rule, counts what it has answered, and can hold a request for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answered: Counter[str] = Counter()
        self.hold_after = 10**9
        self.holds = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"data": [{"id": "rule", "object": "model"}]} if self.path == "/v1/models" else {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt, n = body["messages"][-1]["content"], body["n"]
        if sum(self.server.answered.values()) >= self.server.hold_after:
            self.server.holds.set()
            threading.Event().wait(60)  # whoever asked is killed meanwhile
            return
        self.server.answered[prompt] += n
        texts = [hashlib.sha256(f"{prompt} {body['seed'] + i}".encode()).hexdigest() for i in range(n)]
        texts = [
            " ".join(f"Of {text[i : i + 9]} it says {text[i + 9 : i + 16]}." for i in range(0, 64, 8)) for text in texts
        ]
        if "<question>" in prompt:
            texts = [f"<question>What of {text}?</question><question>Why is {text}?</question>" for text in texts]
        choices = [{"message": {"content": text}, "finish_reason": "stop", "index": i} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": 10, "completion_tokens": 10 * n}
        self.answer({"choices": choices, "usage": usage, "model": "rule"})

    def answer(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("recipe", ["correct", "answer"])
def test_a_kill_between_any_two_steps_asks_for_nothing_twice(recipe, tmp_path):
    make_corpus(tmp_path, make_texts(DOCUMENTS))
    with Writing() as writing:
        run_file = tmp_path / "run.yaml"
        open_gates = {"chat": False, "same_language": False, "min_shared": 0, "min_ratio": None, "max_ratio": None}
        fields = {
            "corpus": "corpus",
            "store": "store",
            "recipe": {"name": recipe, "generations": 2},
            "generator": {"engine": "openai", "endpoint": writing.url, "model": "rule"},
            "mix": {"max_seq_len": 64, "window": 32},
            "server": {"max_in_flight": 1, "gates": open_gates, "max_lead": 10**6},
        }
        run_file.write_text(yaml.safe_dump(fields))
        for after in (1, 6, 10**9):  # requests, or rather generations
            writing.hold_after = sum(writing.answered.values()) + after
            writing.holds.clear()
            serve(run_file, writing)
        file = RunFile.load(run_file)
        run, store = Run.of(file, file.who_writes()), LmdbStore(file.store)
        held = total(read_tallies(store, run.stream().scope).values())
        assert held.items == DOCUMENTS and held.generations == 2 * DOCUMENTS, held
        with store.read() as snapshot:
            steps = sum(1 for _ in snapshot.scan("texts", b"")) - DOCUMENTS
        assert sum(writing.answered.values()) == steps
        # The two slots of a document begin with one request; each of what follows is of one row alone.
        first = [prompt for prompt, n in writing.answered.items() if n == 2]
        assert len(first) == DOCUMENTS and {*writing.answered.values()} == {1, 2}


def serve(run_file: Path, writing: Writing) -> None:
    """Run a server until it has to wait for the request that is held, and kill it there; or to its end."""
    command = [sys.executable, "-m", "streamdocs_server", str(run_file)]
    with (run_file.parent / "server.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: writing.holds.is_set() or process.poll() is not None, 90)
        assert process.poll() in (None, 0), (run_file.parent / "server.log").read_text()[-2000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
