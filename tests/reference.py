"""A straightforward reference for whole runs: every unit in memory, end to end, cut, dealt to positions one by one."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import ceil, floor

import numpy as np

from streamdocs import Recipe, Rephrase, Stitch, SynthLLM
from streamdocs._base.hashing import permutation
from streamdocs.generations.encoding import decode_text, decode_tokens
from streamdocs.generations.records import token_key
from streamdocs.recipes import WEB_UNIT
from streamdocs.run import Run
from streamdocs.streams import Stream, SyntheticStream, WebStream

#: Tokens of a sequence, and for each the number of its document in the stream.
Row = tuple[list[int], list[int]]


def laid_out(recipe: Recipe) -> Recipe:
    """The recipe whose units a recipe's are."""
    if not isinstance(recipe, SynthLLM):
        return recipe
    rounds = {"generations": recipe.generations, "per_round": recipe.per_round, "rounds": recipe.rounds}
    if recipe.layout == "pairs":
        return Rephrase(web=False, **rounds)
    return Stitch(web={"megadoc": "none", "append": "first"}[recipe.layout], separator=recipe.separator, **rounds)


class Units:
    """Units of a stream as lists of tokens, straight from the texts of corpus and store."""

    def __init__(self, stream: Stream, store) -> None:
        self.stream, self.store, self.recipe = stream, store, laid_out(stream.recipe)
        self.corpus, self.tokenizer = stream.corpus, stream.corpus.tokenizer
        self.bos = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        # Of documents and texts, which every sweep comes back to.
        self.text, self.encode, self.cut = cache(self.text), cache(self.encode), cache(self.cut)

    def text(self, document: int, round: int) -> dict[int, str]:
        """What was accepted in a round, by slot."""
        scope = self.stream.scope
        key = scope.keyring.key(self.corpus.document_digest(document), round)
        with self.store.read() as snapshot:
            record = decode_text(key, snapshot.get("texts", key.digest))
            assert decode_tokens(key, snapshot.get("tokens", token_key(scope, key.digest))) is not None
        found = zip(self.recipe.slots_of_round(round), record.texts, strict=True)
        return {slot: text for slot, text in found if text is not None}

    def texts(self, document: int, rounds: int) -> dict[int, str]:
        """What was accepted in the first rounds, in the order of slots."""
        found = {slot: text for round in range(rounds) for slot, text in self.text(document, round).items()}
        return dict(sorted(found.items()))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode_batch([text])[0].tolist()

    def wrap(self, tokens: list[int]) -> list[int]:
        return [*self.bos, *tokens, self.tokenizer.eos]

    def web(self, document: int) -> list[int]:
        return self.wrap(self.encode(self.corpus.text(document)))

    def slot(self, document: int, sweep: int) -> int:
        """What a sweep of rephrases reads of a document."""
        of_one, seed = np.array([document]), self.stream.order.shuffle.seed
        return int(self.recipe.slots_of_sweep(sweep % self.recipe.sweeps, of_one, seed)[0])

    def needed(self, document: int, sweep: int, when_behind: str) -> int:
        """Rounds that have to be there before a document is read."""
        if isinstance(self.recipe, Rephrase):
            return max(self.slot(document, sweep), 0) // self.recipe.round_size + 1
        return self.recipe.cycle if when_behind == "wait" else 1

    def unit(self, document: int, sweep: int, rounds: int) -> list[int] | None:
        """The unit of a document, of the first rounds; None where all of them were rejected."""
        texts = self.texts(document, rounds)
        if isinstance(self.recipe, Rephrase):
            if (slot := self.slot(document, sweep)) == WEB_UNIT:
                return self.web(document)
            return self.wrap(self.encode(texts[slot])) if slot in texts else None
        if not texts:
            return None
        lay_out = self.stitched if isinstance(self.recipe, Stitch) else self.stretched
        return self.wrap(lay_out(document, texts))

    def stitched(self, document: int, texts: dict[int, str]) -> list[int]:
        opening, closing = (
            self.tokenizer.encode_marks(getattr(self.recipe, mark, "")).tolist() for mark in ("open_mark", "close_mark")
        )
        parts = [opening + self.encode(text) + closing for text in texts.values()]
        web = self.encode(self.corpus.text(document))
        parts = {"last": [*parts, web], "first": [web, *parts], "none": parts}[self.recipe.web]
        separator = self.tokenizer.encode_marks(self.recipe.separator).tolist()
        joined = parts[0]
        for part in parts[1:]:
            joined = joined + separator + part
        return joined

    def stretched(self, document: int, texts: dict[int, str]) -> list[int]:
        recipe, web = self.recipe, self.encode(self.corpus.text(document))
        opening, closing = (self.tokenizer.encode_marks(m).tolist() for m in (recipe.open_mark, recipe.close_mark))
        thoughts = {recipe.place_of_slot(slot): text for slot, text in texts.items()}
        tokens, begin = [], 0
        for cut in range(recipe.generations):
            if cut not in thoughts:
                continue
            end = self.cut(document, len(web) * (cut + 1) // (recipe.generations + 1))
            tokens += [*web[begin:end], *opening, *self.encode(thoughts[cut]), *closing]
            begin = end
        return tokens + web[begin:]

    def cut(self, document: int, exact: int) -> int:
        """The token of a document at which a generation goes in instead of between any two."""
        if self.recipe.cut_at == "token":
            return exact
        text = self.corpus.text(document)
        _, offsets = self.tokenizer.encode_offsets(text)
        inner = [at for at in range(1, len(offsets)) if offsets[at][0] == offsets[at - 1][1]]
        words = [at for at in inner if text[offsets[at][0]].isspace() or text[offsets[at][0] - 1].isspace()]
        near = [at for at in words if abs(at - exact) <= 16] or [0, *inner, len(offsets)]
        return min(near, key=lambda at: (abs(at - exact), at))


def web_rows(stream: WebStream, length: int) -> Iterator[Row]:
    """The sequences of a web stream, pass after pass."""
    units, tokens, numbers, number, sweep = Units(stream, None), [], [], 0, 0
    while True:
        for document in stream.order.order(sweep).tolist():
            unit = units.web(document)
            tokens, numbers, number = tokens + unit, numbers + [number] * len(unit), number + 1
            while len(tokens) >= length:
                yield tokens[:length], numbers[:length]
                tokens, numbers = tokens[length:], numbers[length:]
        sweep += 1


def synthetic_rows(stream: SyntheticStream, store, length: int, watermarks: list[int]) -> Iterator[tuple[Row, bool]]:
    """The sequences of a synthetic stream, window by window, and whether each is synthetic.

    ``watermarks``: what existed when each window was sealed.
    """
    units, order, filler = Units(stream, store), stream.order, web_rows(stream.filler, length)
    tokens, numbers, number, sweep, place = [], [], 0, 0, 0
    for window, watermark in enumerate(watermarks):
        rows = len(stream.rows(window))
        while len(tokens) < rows * length:
            document = int(order.order(sweep)[place])
            rounds = rounds_of(stream, document, watermark)
            late = rounds < units.needed(document, sweep, stream.when_behind)
            if late and stream.when_behind != "reuse":
                break
            unit = None if late else units.unit(document, sweep, rounds)
            if unit:
                tokens, numbers, number = tokens + unit, numbers + [number] * len(unit), number + 1
            sweep, place = (sweep, place + 1) if place + 1 < order.sources else (sweep + 1, 0)
        for _ in range(rows):
            if len(tokens) >= length:
                yield (tokens[:length], numbers[:length]), True
                tokens, numbers = tokens[length:], numbers[length:]
            else:
                yield next(filler), False


def rounds_of(stream: SyntheticStream, document: int, watermark: int) -> int:
    """Rounds of a document that exist at a watermark: round after round, each in the order of some sweep."""
    found, sources = 0, stream.order.sources
    while found < stream.recipe.total_rounds:
        at = stream.order.order(stream.recipe.order_of_round(found)).tolist().index(document)
        if found * sources + at >= watermark:
            break
        found += 1
    return found


def places(run: Run, windows: int) -> Iterator[tuple[Stream, int]]:
    """For each position, its stream, and the number of its sequence among all of that stream's."""
    mixture, dealt, counts = run.mixture, {False: [], True: []}, [0] * len(run.streams)
    for window in range(windows):
        here = []
        for position in range(window * mixture.window, (window + 1) * mixture.window):
            synthetic = floor((position + 1) * mixture.fraction) > floor(position * mixture.fraction)
            here.append(deal([s for s in run.streams if mixture.shares[s.number].synthetic == synthetic], run, dealt))
        for stream in run.streams:
            of_stream = here.count(stream)
            rows = iter(permutation(of_stream, mixture.seed, stream.name, window).tolist())
            for at, each in enumerate(here):
                if each is stream:
                    here[at] = stream, counts[stream.number] + next(rows)
            counts[stream.number] += of_stream
        yield from here


def deal(streams: list[Stream], run: Run, dealt: dict[bool, list[int]]) -> Stream:
    """The stream of the next sequence of a half: of those whose next is not too early, the one that is due first."""
    shares = {stream.number: run.mixture.shares[stream.number] for stream in streams}
    total = sum((share.fraction for share in shares.values()), Fraction())
    before = dealt[next(iter(shares.values())).synthetic]

    def due(stream: Stream) -> tuple[int, int]:
        share, count = shares[stream.number].fraction / total, before.count(stream.number)
        early = count >= (len(before) + 1) * share
        return (1 << 60 if early else ceil((count + 1) / share)), stream.number

    chosen = min(streams, key=due)
    before.append(chosen.number)
    return chosen
