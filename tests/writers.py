"""An engine whose text a function gives, and a run that trains while it writes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streaming import StreamingDataLoader

from conftest import generate, make_dataset
from streamdocs import Stitch, StreamingMegadocDataset
from streamdocs.recipes import Request
from streamdocs.store import LmdbStore
from streamdocs_server.engines.base import Answer, Completion


class Writes:
    """Answers with what ``text`` makes of a request and the number of a completion; "" is rejected by every gate.

    Args:
        text: What to write.
    """

    def __init__(self, text: Callable[[Request, int], str]) -> None:
        self._text = text
        self.asked = 0

    async def model(self) -> tuple[str, str]:
        return "template", "1"

    async def fit(self, request: Request) -> Request:
        return request

    async def close(self) -> None:
        pass

    async def generate(self, request: Request, seed: int) -> Answer:
        self.asked += 1
        return Answer(tuple(Completion(self._text(request, i), "stop", 1) for i in range(request.n)), 1)


def number_of(request: Request) -> str:
    """The number of a document of ``make_texts``, from its text: what is written should differ between documents."""
    return next(iter(request.fields.values())).split()[1]


#: One generation a document, always a fresh one.
ENDLESS = Stitch(generations=1, rounds=None)


def train(
    corpus: Path, store: LmdbStore, words: Sequence[str], batches: int, after_round: Callable[[], Any] = lambda: None
) -> tuple[StreamingMegadocDataset, list[tuple[dict[str, Any], list[list[int]]]]]:
    """Read so many batches of each round, whose texts begin with one of the words: states, and tokens after each."""
    dataset = make_dataset(corpus, store, recipe=ENDLESS, window=16)
    loader = StreamingDataLoader(dataset, batch_size=4)
    rows = (batch["input_ids"].tolist() for _ in iter(int, 1) for batch in loader)
    blocks, read = dataset.run.stream().scope.generation_order.blocks_per_round, []
    for round, word in enumerate(words):
        engine = Writes(lambda request, _, word=word: f"{word} of {number_of(request)}")
        generate(dataset.run, store, blocks * (round + 1), first=blocks * round, engine=engine)
        read += [(json.loads(json.dumps(loader.state_dict())), next(rows)) for _ in range(batches)]
        after_round()
    return dataset, read
