"""The whole loader against a straightforward reference: build every megadoc in memory, concatenate, cut."""

from functools import cache

import numpy as np
import pytest

from conftest import TEMPLATE, generate, make_run
from streamdocs import Rephrase, Stitch, StreamingMegadocDataset, Stretch
from streamdocs._base.hashing import permutation
from streamdocs.generations.encoding import decode_text, decode_tokens
from streamdocs.generations.records import token_key
from streamdocs.recipes import WEB_UNIT

LENGTH, WINDOW = 64, 32


class Reference:
    """Megadocs as lists of tokens, straight from the texts in the store."""

    def __init__(self, run, store):
        self.run, self.store = run, store
        self.corpus, self.tokenizer = run.corpus, run.corpus.tokenizer
        self.bos = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        self.eos = [self.tokenizer.eos]
        # Of documents and texts, which every sweep comes back to.
        self.texts, self.encode, self.cut = cache(self.texts), cache(self.encode), cache(self.cut)

    def texts(self, document: int) -> dict[int, str]:
        """By slot."""
        found = {}
        for round in range(self.run.stream().recipe.cycle):
            key = self.run.stream().scope.keyring.key(self.corpus.document_digest(document), round)
            with self.store.read() as snapshot:
                record = decode_text(key, snapshot.get("texts", key.digest))
                assert (
                    decode_tokens(key, snapshot.get("tokens", token_key(self.run.stream().scope, key.digest)))
                    is not None
                )
            found |= zip(self.run.stream().recipe.slots_of_round(round), record.texts, strict=True)
        return {slot: text for slot, text in found.items() if text is not None}

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode_batch([text])[0].tolist()

    def wrap(self, tokens: list[int]) -> list[int]:
        return self.bos + tokens + self.eos

    def web(self, document: int) -> list[int]:
        return self.wrap(self.encode(self.corpus.text(document)))

    def units(self, sweep: int) -> list[list[int]]:
        """The units of a sweep in order."""
        recipe, order = self.run.stream().recipe, self.run.stream().order.order(sweep)
        if isinstance(recipe, Stitch):
            return [self.stitched(int(document)) for document in order]
        if isinstance(recipe, Stretch):
            return [self.stretched(int(document)) for document in order]
        units = []
        slots = recipe.slots_of_sweep(sweep % recipe.sweeps, order, self.run.stream().order.shuffle.seed)
        for document, slot in zip(order.tolist(), slots.tolist(), strict=True):
            if slot == WEB_UNIT:
                units.append(self.web(document))
            elif slot in (texts := self.texts(document)):
                units.append(self.wrap(self.encode(texts[slot])))
        return units

    def stitched(self, document: int) -> list[int]:
        recipe = self.run.stream().recipe
        parts = [self.encode(text) for _, text in sorted(self.texts(document).items())]
        web = self.encode(self.corpus.text(document))
        parts = {"last": [*parts, web], "first": [web, *parts], "none": parts}[recipe.web]
        separator = self.tokenizer.encode_marks(recipe.separator).tolist()
        joined = parts[0]
        for part in parts[1:]:
            joined = joined + separator + part
        return self.wrap(joined)

    def stretched(self, document: int) -> list[int]:
        recipe = self.run.stream().recipe
        web = self.encode(self.corpus.text(document))
        opening, closing = (self.tokenizer.encode_marks(m).tolist() for m in (recipe.open_mark, recipe.close_mark))
        thoughts = {recipe.place_of_slot(slot): text for slot, text in self.texts(document).items()}
        tokens, begin = [], 0
        for cut in range(recipe.generations):
            end = self.cut(document, len(web) * (cut + 1) // (recipe.generations + 1))
            tokens += web[begin:end]
            begin = end
            if cut in thoughts:
                tokens += opening + self.encode(thoughts[cut]) + closing
        return self.wrap(tokens + web[begin:])

    def cut(self, document: int, exact: int) -> int:
        """The token of a document at which a generation goes in instead of between any two."""
        if self.run.stream().recipe.cut_at == "token":
            return exact
        text = self.corpus.text(document)
        _, offsets = self.tokenizer.encode_offsets(text)
        inner = [at for at in range(1, len(offsets)) if offsets[at][0] == offsets[at - 1][1]]
        words = [at for at in inner if text[offsets[at][0]].isspace() or text[offsets[at][0] - 1].isspace()]
        near = [at for at in words if abs(at - exact) <= 16] or [0, *inner, len(offsets)]
        return min(near, key=lambda at: (abs(at - exact), at))

    def sequences(self, kind: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first sequences of a stream: tokens, and the document of each."""
        tokens, documents, sweep = [], [], 0
        while len(tokens) < count * LENGTH:
            if kind == "web":
                units = [self.web(int(document)) for document in self.run.web[0].order.order(sweep)]
            else:
                units = self.units(sweep)
            for unit in units:
                documents += [documents[-1] + 1 if documents else 0] * len(unit)
                tokens += unit
            sweep += 1
        shape = (count, LENGTH)
        ids = np.array(documents[: count * LENGTH]).reshape(shape)
        return np.array(tokens[: count * LENGTH]).reshape(shape), ids - ids[:, :1]


RECIPES = [
    Stitch(generations=4, web="last"),
    Stitch(generations=4, web="first", per_round=2),
    Stitch(generations=3, web="none", per_round=1),
    Stretch(generations=4),
    Stretch(generations=6, per_round=2),
    Stretch(generations=5, cut_at="token"),
    Rephrase(generations=3),
    Rephrase(generations=4, per_round=1),
    Rephrase(generations=2, web=False),
]


@pytest.mark.parametrize("block_attention", [False, True])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.name}-{recipe.generations}")
def test_equals_the_reference(recipe, block_attention, large_corpus, store):
    run = make_run(large_corpus, recipe, length=LENGTH, window=WINDOW)
    generate(run, store)
    dataset = StreamingMegadocDataset(
        local=large_corpus,
        store=store,
        recipe=recipe,
        generator=TEMPLATE,
        synthetic_fraction="0.75",
        max_seq_len=LENGTH,
        window=WINDOW,
        shuffle_seed=17,
        batch_size=8,
        when_behind="wait",
        block_cross_document_attention=block_attention,
    )
    reference = Reference(run, store)
    # More than a pass over the megadocs, and over the web documents.
    web_passes, unit_tokens = 1.1, sum(map(len, reference.units(0)))
    positions = max(4 * web_passes * run.web[0].tokens, 1.1 * unit_tokens * recipe.sweeps / 0.75) / LENGTH
    windows = int(min(positions, 6000)) // WINDOW + 1
    expected = {kind: reference.sequences(kind, len(windows_of(run, windows, kind))) for kind in ("web", "synthetic")}
    for position, sample in enumerate(dataset._samples(np.arange(windows * WINDOW))):
        window, place = divmod(position, WINDOW)
        kind = "synthetic" if (position + 1) * 3 // 4 > position * 3 // 4 else "web"
        rows = run.mixture.rows(window)[kind == "synthetic"]
        rank = sum((p + 1) * 3 // 4 > p * 3 // 4 for p in range(window * WINDOW, position))
        rank = rank if kind == "synthetic" else place - rank
        row = rows.start + permutation(len(rows), 17, kind, window)[rank]
        tokens, ids = expected[kind]
        assert bool(sample["synthetic"]) == (kind == "synthetic")
        np.testing.assert_array_equal(sample["input_ids"].numpy(), tokens[row])
        np.testing.assert_array_equal(sample["labels"].numpy(), tokens[row])
        if block_attention:
            np.testing.assert_array_equal(sample["sequence_id"].numpy(), ids[row])
        assert ("sequence_id" in sample) == block_attention


def windows_of(run, windows: int, kind: str) -> range:
    """The sequences of a stream in the first windows."""
    return range(run.mixture.rows(windows - 1)[kind == "synthetic"].stop)
