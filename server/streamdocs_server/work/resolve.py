"""From a document and a round to its records: ask, gate, ask again for what was rejected, encode."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np
from prometheus_client import Histogram

from streamdocs.generations.encoding import (
    Buffer,
    TextRecord,
    TokenRecord,
    decode_text,
    decode_tokens,
    encode_text,
    encode_tokens,
    is_of_another,
)
from streamdocs.generations.progress import Tally
from streamdocs.generations.records import token_key
from streamdocs.recipes import Request
from streamdocs.recipes.keys import Key
from streamdocs.run import GenerationScope
from streamdocs.store import Store, Table
from streamdocs_server.engines import Answer, Engine, RequestRefusedError
from streamdocs_server.gates.gates import Accepted, Gates
from streamdocs_server.work.commit import Committer

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Record = TypeVar("_Record", TextRecord, TokenRecord)


def _latency() -> Histogram:
    seconds = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600)
    text = "Seconds from asking for the generations of a document to having them, retries included"
    return Histogram("streamdocs_request_seconds", text, buckets=seconds, registry=None)


@dataclass
class Statistics:
    """Counts.

    Args:
        written: What was stored.
        found: (round, document) items that needed nothing to be asked.
        asked: Items that something was asked for.
        answers: Requests that the engine answered.
        prompt_tokens, cached_tokens: As the engine reports them; the second are those of the first in its cache.
        completion_tokens: Likewise, rejected generations included.
        latency: Of requests.
    """

    written: Tally = field(default_factory=Tally)
    found: int = 0
    asked: int = 0
    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency: Histogram = field(default_factory=_latency)

    def add_answer(self, answer: Answer) -> None:
        """Count an answer's tokens."""
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.cached_tokens += answer.cached_tokens
        self.completion_tokens += sum(each.completion_tokens for each in answer.completions)


class Resolved(NamedTuple):
    """A (round, document) item: token records that are still to be written, what it holds, whether it was asked for."""

    tokens: dict[bytes, bytes]
    tally: Tally
    asked: bool


@dataclass(frozen=True)
class Resolver:
    """Resolves items.

    Args:
        scope: Which generations.
        store: Where those that exist are.
        engine: Who writes the others.
        gates: What is accepted.
        attempts: How often a generation is asked for before its rejection is final.
        statistics: Where what the engine answers is counted.
    """

    scope: GenerationScope
    store: Store
    engine: Engine
    gates: Gates
    attempts: int
    statistics: Statistics = field(default_factory=Statistics)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def write(self, document: int, round: int) -> tuple[TextRecord, bool]:
        """The texts of an item, and whether they are new: of the engine, and not of the store.

        Raises:
            EngineError: The engine cannot be used.
        """
        key = self._key(document, round)
        stored = self._stored("texts", key, key.digest, decode_text)
        return (stored, False) if stored else (await self._generate(document, round), True)

    async def resolve(self, document: int, round: int, text: TextRecord, new: bool) -> Resolved:
        """Keep what ``write`` returned, and make tokens of it where the store has none.

        Raises:
            StoreError: The texts cannot be written.
        """
        key = self._key(document, round)
        where = token_key(self.scope, key.digest)
        if new:
            await self.committer.add({"texts": {key.digest: encode_text(key, text)}})
            # Tokens are those of the text that everybody will find: another server may have been faster.
            text = self._stored("texts", key, key.digest, decode_text) or text
        tokens = self._stored("tokens", key, where, decode_tokens)
        if tokens:
            return Resolved({}, tally(text, tokens.lengths), new)
        encoded = self.scope.corpus.tokenizer.encode_batch([each or "" for each in text.texts])
        return Resolved({where: encode_tokens(key, encoded)}, tally(text, list(map(len, encoded))), new)

    @cached_property
    def committer(self) -> Committer:
        """What writes, for many items together."""
        return Committer(self.store)

    def _key(self, document: int, round: int) -> Key:
        return self.scope.keyring.key(self.scope.corpus.document_digest(document), round)

    def _stored(
        self, table: Table, key: Key, where: bytes, decode: Callable[[Key, Buffer | None], _Record | None]
    ) -> _Record | None:
        """A record of the store; None where there is none, or where it was damaged: then it makes room for another."""
        with self.store.read() as snapshot:
            found = snapshot.get(table, where)
            record = decode(key, found)
            damaged = found is not None and record is None and not is_of_another(key, found)
        if damaged:
            log.warning("a damaged record in %s of store %s is written anew", table, self.store.location)
            self.store.delete(table, [where])
        return record

    async def _generate(self, document: int, round: int) -> TextRecord:
        texts: list[str | None] = []
        causes: list[str | None] = []
        attempts = cut = 0
        for whole, seed in await self._requests(document, round):
            accepted: list[str] = []
            try:
                request = await self.engine.fit(whole)
            except RequestRefusedError as error:
                rejected, tries = _refused(error, whole.n), 1
            else:
                cut = max(cut, _characters(whole) - _characters(request))
                accepted, rejected, tries = await self._ask(request, seed)
            texts += [*accepted, *[None] * len(rejected)]
            causes += [*[None] * len(accepted), *rejected]
            attempts = max(attempts, tries)
        return TextRecord(texts, causes, attempts, cut)

    async def _requests(self, document: int, round: int) -> list[tuple[Request, int]]:
        make = partial(requests, self.scope, document, round)
        if self.scope.corpus.is_local(document):
            return make()
        async with self._reading:  # one at a time: a shard that many documents wait for is downloaded once
            return await _in_thread(make)

    async def _ask(self, request: Request, seed: int) -> tuple[list[str], list[str], int]:
        """Accepted texts, causes of the final rejections, and attempts, for one request."""
        accepted: list[str] = []
        causes: list[str] = []
        for attempt in range(self.attempts):
            missing = request.n - len(accepted)
            try:
                with self.statistics.latency.time():
                    answer = await self.engine.generate(
                        replace(request, n=missing), (seed + attempt * 0x9E3779B9) % (1 << 32)
                    )
            except RequestRefusedError as error:
                return accepted, _refused(error, missing), attempt + 1
            self.statistics.add_answer(answer)
            causes = []
            for completion in answer.completions:
                verdict = self.gates.check(completion.text, completion.finish_reason, request)
                if isinstance(verdict, Accepted):
                    accepted.append(verdict.text)
                else:
                    causes.append(verdict.cause)
            if not causes:
                break
        return accepted, causes, attempt + 1


def requests(scope: GenerationScope, document: int, round: int) -> list[tuple[Request, int]]:
    """What a round asks for a document, in the order of sending, with the seed of each request's first generation."""
    text = scope.corpus.text(document)
    places = scope.cut_places(text, round) if scope.recipe.kind == "thought" else []
    seed = scope.keyring.key(scope.corpus.document_digest(document), round).seed
    made = scope.recipe.requests(text, places, round)
    return list(zip(made, accumulate((request.n for request in made[:-1]), initial=seed), strict=True))


def _in_thread(work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """What ``work`` returns, however long it takes: neither the event loop nor the end of the process waits for it."""
    # asyncio.to_thread has few threads, which heartbeats and leases need too, and all are waited for in the end.
    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(done)


def tally(record: TextRecord, lengths: list[int]) -> Tally:
    """What one item holds."""
    texts = [text for text in record.texts if text is not None]
    return Tally(
        items=1,
        generations=len(texts),
        tokens=int(np.sum(lengths)),
        text_bytes=sum(len(text.encode()) for text in texts),
        rejected=Counter(cause for cause in record.causes if cause),
        cut=int(record.cut > 0),
    )


def _refused(error: RequestRefusedError, n: int) -> list[str]:
    """The causes of ``n`` generations that there will not be."""
    log.debug("a document was refused: %s", error)
    return ["refused by the server"] * n


def _characters(request: Request) -> int:
    return sum(map(len, request.fields.values()))
