"""From a document and a round to its records: ask, gate, ask again for what was rejected, encode."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from streamdocs.progress import Tally
from streamdocs.records import TextRecord, decode_text, decode_tokens, encode_text, encode_tokens
from streamdocs.requests import Request
from streamdocs.run import GenerationScope
from streamdocs.shelf import token_key
from streamdocs.store import Store, Table
from streamdocs_server.engines import Engine, RequestRefusedError
from streamdocs_server.gates import Accepted, Gates
from streamdocs_server.statistics import Statistics

log = logging.getLogger(__name__)

Entries = dict[Table, dict[bytes, bytes]]


class Resolved(NamedTuple):
    """The records of one (round, document) item that are still to be written, what they hold, and what they cost."""

    entries: Entries
    tally: Tally
    asked: int


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

    async def resolve(self, document: int, round: int) -> Resolved:
        """The records of an item. Only what the store does not hold is asked for.

        Raises:
            EngineError: The engine cannot be used.
        """
        corpus = self.scope.corpus
        key = self.scope.keyring.key(corpus.document_digest(document), round)
        where = token_key(self.scope, key.digest)
        with self.store.read() as snapshot:
            text = decode_text(key, snapshot.get("texts", key.digest))
            tokens = decode_tokens(key, snapshot.get("tokens", where))
            if text and tokens:
                return Resolved({}, tally(text, tokens.lengths), 0)
        asked = 0
        entries: Entries = {}
        if text is None:
            text = await self._generate(document, round)
            asked = text.attempts
            entries["texts"] = {key.digest: encode_text(key, text)}
        encoded = corpus.tokenizer.encode_batch([each or "" for each in text.texts])
        entries["tokens"] = {where: encode_tokens(key, encoded)}
        return Resolved(entries, tally(text, [len(each) for each in encoded]), asked)

    async def _generate(self, document: int, round: int) -> TextRecord:
        texts: list[str | None] = []
        causes: list[str | None] = []
        attempts = cut = 0
        for whole, seed in requests(self.scope, document, round):
            request = await self.engine.fit(whole)
            cut = max(cut, _characters(whole) - _characters(request))
            accepted, rejected, tries = await self._ask(request, seed)
            texts += [*accepted, *[None] * len(rejected)]
            causes += [*[None] * len(accepted), *rejected]
            attempts = max(attempts, tries)
        return TextRecord(texts, causes, attempts, cut)

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
                log.debug("a document was refused: %s", error)
                return accepted, ["refused by the server"] * missing, attempt + 1
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


def requests(scope: GenerationScope, document: int, round: int) -> Iterator[tuple[Request, int]]:
    """What a round asks for a document, in the order of sending, with the seed of each request's first generation."""
    text = scope.corpus.text(document)
    needs_offsets = scope.recipe.kind == "thought"
    offsets = scope.corpus.tokenizer.encode_offsets(text)[1] if needs_offsets else []
    seed = scope.keyring.key(scope.corpus.document_digest(document), round).seed
    for request in scope.recipe.requests(text, offsets, round):
        yield request, seed
        seed += request.n


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


def _characters(request: Request) -> int:
    return sum(map(len, request.fields.values()))
