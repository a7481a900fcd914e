"""An OpenAI-compatible server that writes the same text whenever it is asked the same, and notes each time that it is.

Who asks is told by the path: ``/NAME/v1/chat/completions``. What it notes is a file of JSON lines: ``asked``, when, a
number, who, and a digest of prompt and seed; ``answered``, when, the number, and whether anybody was there to take it.
"""

import asyncio
import json
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import xxhash
from aiohttp import web
from sidecar import writer

MODEL = "counted"


class Asked(NamedTuple):
    """One request for one text.

    when, answered: Unix seconds; None where who asked was gone before the answer.
    """

    who: str
    when: float
    answered: float | None


def serve(log: Path, words: int, seconds: dict[str, float], told: Connection) -> None:
    """Serve until the process ends; the port is sent to ``told``.

    ``words``: a text has. ``seconds``: an answer takes, by the beginning of the name of who asks.
    """
    numbers = iter(range(1 << 62))

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL, "max_model_len": 1 << 16}]})

    async def chat(request: web.Request) -> web.Response:
        who, number = request.match_info["who"], next(numbers)
        asked = json.loads(await request.read())
        prompt = asked["messages"][-1]["content"]
        note("asked", number, who, *(digest_of(prompt, asked["seed"] + place) for place in range(asked["n"])))
        await asyncio.sleep(next(each for name, each in seconds.items() if who.startswith(name)))
        texts = [text_of(digest_of(prompt, asked["seed"] + place), words) for place in range(asked["n"])]
        there = request.transport is not None and not request.transport.is_closing()
        note("answered", number, there)
        choices = [
            {"index": place, "message": {"content": text}, "finish_reason": "stop"} for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": words * len(texts)}
        return web.json_response({"choices": choices, "usage": usage})

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/{who}/v1/models", models), web.post("/{who}/v1/chat/completions", chat)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    with log.open("ab", buffering=0) as file:

        def note(what: str, *told: Any) -> None:
            file.write(json.dumps([what, time.time(), *told]).encode() + b"\n")

        asyncio.run(run())


def digest_of(prompt: str, seed: int) -> int:
    """Of what one text is asked for with."""
    return xxhash.xxh3_64_intdigest(prompt.encode(), seed)


def text_of(digest: int, words: int) -> str:
    """The text for a digest."""
    return writer(digest)(words)


def asked(log: Path) -> dict[int, list[Asked]]:
    """What was asked for, by its digest, in order of time."""
    requests: dict[int, tuple[float, str, list[int]]] = {}
    found = defaultdict[int, list[Asked]](list)
    answered: dict[int, float] = {}
    for line in log.read_bytes().splitlines():
        what, when, number, *rest = json.loads(line)
        if what == "asked":
            requests[number] = when, rest[0], rest[1:]
        elif rest[0]:
            answered[number] = when
    for number, (when, who, digests) in requests.items():
        for digest in digests:
            found[digest].append(Asked(who, when, answered.get(number)))
    return found
