"""From a document and a round to its records: ask, gate, ask again for what was rejected, encode."""

import asyncio
import logging
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from streamdocs._base.arrays import Tokens
from streamdocs.corpus.tokenizing.tokenizer import CorpusTokenizer
from streamdocs.generations.encoding import (
    TextRecord,
    decode_text,
    decode_tokens,
    encode_tokens,
    is_of_another,
)
from streamdocs.generations.progress import Tally
from streamdocs.generations.records import token_key
from streamdocs.generations.rejected import RejectedText
from streamdocs.generations.steps.asking import requests, sources_of
from streamdocs.recipes import Request
from streamdocs.recipes.keys import Key
from streamdocs.store import Store
from streamdocs.streams import GenerationScope
from streamdocs_server._base.beside import in_thread
from streamdocs_server._base.together import Together
from streamdocs_server.engines import Completion
from streamdocs_server.gates.gates import Accepted, Gates, Rejected
from streamdocs_server.work.commit import Committer, Texts
from streamdocs_server.work.desk import Desk, another_seed
from streamdocs_server.work.programs import Programs, Written
from streamdocs_server.work.slots import text_id
from streamdocs_server.work.statistics import Statistics, tally

log = logging.getLogger(__name__)

_T = TypeVar("_T")


#: Items of which the digests of their texts are remembered.
_MOST_REMEMBERED = 1 << 16


class Resolved(NamedTuple):
    """A (round, document) item: what it holds, whether it was asked for, and records that are still to be written."""

    tokens: dict[bytes, bytes]
    tally: Tally
    asked: bool
    texts: Texts = MappingProxyType({})


@dataclass(frozen=True)
class Resolver:
    """Resolves items.

    Args:
        scope: Which generations.
        store: Where those that exist are.
        desk: Those who write the others.
        gates: What is accepted.
        attempts: How often a generation is asked for before its rejection is final.
        statistics: Where what the engine answers is counted.
        again: Causes of rejection that are not final: what the store has of them is asked for again.
    """

    scope: GenerationScope
    store: Store
    desk: Desk
    gates: Gates
    attempts: int
    statistics: Statistics = field(default_factory=Statistics)
    again: Set[str] = frozenset()
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _lately: dict[bytes, frozenset[bytes]] = field(default_factory=dict, init=False)

    async def write(self, document: int, round: int) -> Written:
        """The texts of an item.

        Raises:
            EngineError: The engine cannot be used, or nothing that it writes can.
        """
        stored = await self.committer.beside(partial(self._texts, document, round))
        stored = stored or await self._restored(document, round)
        if stored and self.again.isdisjoint(stored.causes):
            return Written(stored, False)
        work = self._generate if self.scope.recipe.is_plain else self._perform
        written = await work(document, round, stored)
        if not self.scope.recipe.compared:  # otherwise it is not known yet what becomes of them
            self.statistics.outcome.add(written.texts)
        if any(written.texts.texts) and self.scope.is_read:
            source = await self._read(document, round, self.scope.text)
            self.statistics.outcome.compare(self.scope, round, written.texts.texts, source)
        return written

    async def resolve(self, document: int, round: int, written: Written) -> Resolved:
        """Keep what ``write`` returned, and make tokens of it where the store has none.

        Texts that were compared with others are returned with their tokens: what they were compared with is noted with
        their block, and a text that is kept is not compared again.

        Raises:
            StoreError: The texts cannot be written.
        """
        key = self.scope.key(document, round)
        where = token_key(self.scope, key.digest)
        text, new = written.texts, written.new
        if new and self.again:
            await self._replace(key, where, text)
        elif new and self.scope.recipe.compared:
            self._remember(key.digest, text)
            encoded = await self._encoded.do(text)
            return Resolved(
                {where: encode_tokens(key, encoded)}, tally(text, list(map(len, encoded))), new, {key: text}
            )
        elif new:
            await self.committer.add_texts({key: text})
            # Tokens are those of the text that everybody will find: another server may have been faster.
            found = self.committer.find("texts", key, key.digest, decode_text)
            if found is None and self._is_anothers(key):  # two keys of one digest: only the first has anything
                return Resolved({}, Tally(items=1), new)
            text = found or text
            self._remember(key.digest, text)
        if not self.scope.is_read:
            return Resolved({}, tally(text, [0] * len(text.texts)), new)
        tokens = self.committer.find("tokens", key, where, decode_tokens)
        if tokens:
            return Resolved({}, tally(text, tokens.lengths), new)
        encoded = await self._encoded.do(text)
        return Resolved({where: encode_tokens(key, encoded)}, tally(text, list(map(len, encoded))), new)

    async def _replace(self, key: Key, where: bytes, text: TextRecord) -> None:
        """Keep texts, and their tokens with them, also where the store has some of them."""
        encoded = await self._encoded.do(text)
        await self.committer.replace({"tokens": {where: encode_tokens(key, encoded)}}, {key: text})

    @cached_property
    def committer(self) -> Committer:
        """What writes, for many items together."""
        return Committer(self.store)

    @cached_property
    def _encoded(self) -> Together[TextRecord, list[Tokens]]:
        """What makes tokens, of many items together and beside the event loop."""
        return Together(partial(_encode, self.scope.corpus.tokenizer))

    def _texts(self, document: int, round: int) -> TextRecord | None:
        key = self.scope.key(document, round)
        return self.committer.find("texts", key, key.digest, decode_text)

    def _is_anothers(self, key: Key) -> bool:
        with self.store.read() as snapshot:
            found = snapshot.get("texts", key.digest)
            return found is not None and is_of_another(key, found)

    async def _restored(self, document: int, round: int) -> TextRecord | None:
        """Texts that were lost while their tokens are whole, made of these: another text would not be what was read."""
        key = self.scope.key(document, round)
        tokens = self.committer.find("tokens", key, token_key(self.scope, key.digest), decode_tokens)
        found = [tokens.generation(number) for number in range(len(tokens.lengths))] if tokens else []
        whole = [each for each in found if each is not None]
        if not whole or len(whole) < len(found):
            return None
        decode = self.scope.corpus.tokenizer.decode
        texts = [decode(each) if len(each) else None for each in whole]
        record = TextRecord(texts, [None if text else "lost with its text" for text in texts], 0, 0)
        await self.committer.add_texts({key: record})
        return record

    async def _generate(self, document: int, round: int, known: TextRecord | None) -> Written:
        """All generations of an item; those that are ``known``, and not to be asked for again, are as they were."""
        asked = await self._read(document, round, partial(requests, self.scope))
        total = sum(request.n for request, _ in asked)
        texts: list[str | None] = list(known.texts) if known else [None] * total
        causes: list[str | None] = list(known.causes) if known else [None] * total
        before = known.attempts if known else 0
        cut, attempts = known.cut if known else 0, 0
        earlier = await self.committer.beside(partial(self._earlier, document, round))
        seen = earlier | {text_id(each) for each in texts if each}
        first = 0
        for whole, seed in asked:
            slots = [slot for slot in range(first, first + whole.n) if not texts[slot]]
            slots = [slot for slot in slots if known is None or causes[slot] in self.again]
            first += whole.n
            if not slots:
                continue
            request, judge = replace(whole, n=len(slots)), partial(self._judge, document, round, seen)
            told = self.desk.default, request, another_seed(seed, before), judge
            answer = await self.desk.ask(*told, attempts=self.attempts, statistics=self.statistics)
            accepted = answer.accepted
            for slot, text, cause in zip_longest(slots, accepted, [*[None] * len(accepted), *answer.causes]):
                texts[slot], causes[slot] = text, cause
            attempts, cut = max(attempts, answer.attempts), max(cut, answer.cut)
        return Written(TextRecord(texts, causes, attempts + before, cut), True)

    async def _perform(self, document: int, round: int, known: TextRecord | None) -> Written:
        """The same where programs write: what was accepted is found again, step by step."""
        sources = await self._read(document, round, partial(sources_of, self.scope))
        earlier = await self.committer.beside(partial(self._earlier, document, round))
        written = await self._programs.write(document, round, sources, earlier, known)
        if known:
            texts = replace(written.texts, attempts=written.texts.attempts + known.attempts)
            written = written._replace(texts=texts)
        return written

    @cached_property
    def _programs(self) -> Programs:
        ask = partial(self.desk.ask, attempts=self.attempts, statistics=self.statistics)
        return Programs(self.scope, self.committer, self.desk, ask, self.gates, self.statistics, self.again)

    def _earlier(self, document: int, round: int) -> set[bytes]:
        """Digests of the texts that would be told twice with this item's.

        They are of the rounds before, as far back as units draw on them together with this one; and of what the round
        has said so far of a hard document that several of its items are about.
        """
        items = [(document, each) for each in range(max(0, round - self.scope.recipe.cycle + 1), round)]
        if self.scope.hard:
            about, _ = self.scope.about(document, round)
            items += [(place, round) for place in self.scope.hard.places(about, round) if place != document]
        return {digest for item in items for digest in self._said(*item)}

    def _said(self, document: int, round: int) -> frozenset[bytes]:
        """Digests of the texts of an item: remembered of those that this server wrote lately, read of others."""
        key = self.scope.key(document, round).digest
        if key not in self._lately and (record := self._texts(document, round)):
            self._remember(key, record)
        return self._lately.get(key, frozenset())

    def _remember(self, key: bytes, record: TextRecord) -> None:
        self._lately[key] = frozenset(text_id(text) for text in record.texts if text)
        if len(self._lately) > _MOST_REMEMBERED:
            del self._lately[next(iter(self._lately))]

    async def _read(self, document: int, round: int, make: Callable[[int, int], _T]) -> _T:
        """What ``make`` makes of an item, whose document may have to be downloaded."""
        about, _ = self.scope.about(document, round)
        if self.scope.plans is None and self.scope.corpus.is_local(about):
            return make(document, round)
        async with self._reading:  # one at a time: a shard that many documents wait for is downloaded once
            return await in_thread(partial(make, document, round))

    def _judge(
        self, document: int, round: int, seen: set[bytes], completion: Completion, request: Request
    ) -> str | Rejected:
        """What the gates say, and whether the document has the same text already; what is accepted is ``seen``."""
        verdict = self.gates.check(completion.text, completion.finish_reason, request, reasoned=completion.reasoned)
        if isinstance(verdict, Accepted):
            same = text_id(verdict.text)
            if same not in seen or not self.gates.distinct:
                seen.add(same)
                return verdict.text
            verdict = Rejected("duplicate")
        rejected = RejectedText(document, round, verdict.cause, completion.text)
        self.statistics.outcome.reject(rejected, self.scope.stream)
        return verdict


def _encode(tokenizer: CorpusTokenizer, records: list[TextRecord]) -> list[list[Tokens]]:
    texts = [text or "" for record in records for text in record.texts]
    tokens = iter(tokenizer.encode_batch(texts))
    return [list(islice(tokens, len(record.texts))) for record in records]
