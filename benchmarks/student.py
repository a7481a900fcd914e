"""A small real training run that a controller may steer: of its two synthetic streams, one says nothing.

Half of the sequences are web text, documents of Python's own documentation; a quarter each, to begin with, are ``good``
(the sentences of a document in another order) and ``useless`` (its words in another order). A Llama-like model of some
90,000 parameters is trained on one core and evaluated on documents that are held out, after each window.
"""

import json
import sys
from collections.abc import Sequence
from functools import cache, cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from data import GENERATOR, fill_stream
from streaming import StreamingDataLoader

from streamdocs import Rephrase, StreamingMegadocDataset
from streamdocs._base.sentences import sentence_ends
from streamdocs.corpus import prepare_corpus
from streamdocs.corpus.reader import Corpus
from streamdocs.demo.run import reference_texts
from streamdocs.steering.decision import PARTS
from streamdocs.store import LmdbStore

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from model import LanguageModel

LENGTH, BATCH, WINDOW = 64, 32, 256
VOCABULARY, WIDTH, LAYERS, LEARNING_RATE = 512, 64, 1, 2e-3
#: Of a document, so that a window has many and is like the next.
CHARACTERS = 600
GENERATIONS, HELD_OUT_ROWS = 4, 128
STREAMS = ("good", "useless")

Batch = dict[str, torch.Tensor]


class Trained(NamedTuple):
    """What came of a run.

    held_out: nats a token before training, and after each window. useless: by window, the share of the synthetic half.
    """

    held_out: list[float]
    useless: list[float]


def prepare(folder: Path, seeds: int, texts: Sequence[str] = ()) -> None:
    """A corpus that holds a tenth out, and a store with all generations of both streams, for runs of so many seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = texts or [part for text in reference_texts() for part in pieces_of(text)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    prepare_corpus(
        [str(folder / "texts.jsonl")], folder / "corpus", train_tokenizer=VOCABULARY, holdout=0.1, progress=False
    )
    for seed in range(seeds):
        run = make_dataset(folder, "", None, seed=seed).run
        for stream in run.synthetic:
            fill_stream(stream, LmdbStore(folder / "store"), partial(bodies_of, run.corpus, stream.name))


def pieces_of(text: str) -> list[str]:
    """Its paragraphs, together as far as they are short."""
    found: list[str] = [""]
    for paragraph in text.split("\n\n"):
        if found[-1] and len(found[-1]) + len(paragraph) > CHARACTERS:
            found.append("")
        found[-1] = f"{found[-1]}\n\n{paragraph}".strip()
    return found


@cache
def bodies_of(corpus: Corpus, stream: str, document: int) -> list[np.ndarray]:
    """The tokens of all generations of a document in a stream."""
    text, rng = corpus.text(document), np.random.default_rng(document)
    return corpus.tokenizer.encode_batch([mixed(text, rng, by_sentence=stream == "good") for _ in range(GENERATIONS)])


def mixed(text: str, rng: np.random.Generator, *, by_sentence: bool) -> str:
    """The sentences or the words of a text in another order."""
    ends = [0, *sentence_ends(text), len(text)]
    parts = [text[start:end].strip() for start, end in pairwise(ends)] if by_sentence else text.split()
    return " ".join(parts[each] for each in rng.permutation(len(parts)))


def make_dataset(
    folder: Path, name: str, controller: Any, *, batch_size: int = BATCH, seed: int = 0, **options: Any
) -> StreamingMegadocDataset:
    """The run of this name, seed and controller."""
    prompts = {name: f"{name}: {{document}}" for name in STREAMS}  # nobody is asked; streams are told apart by them
    recipes = {name: Rephrase(generations=GENERATIONS, web=False, prompt=prompts[name]) for name in STREAMS}
    return StreamingMegadocDataset(
        local=folder / "corpus",
        store=LmdbStore(folder / "store"),
        generator=GENERATOR,
        streams={"web": {"share": "1/2"}, **{name: {"share": "1/4", "recipe": recipes[name]} for name in STREAMS}},
        max_seq_len=LENGTH,
        window=WINDOW,
        shuffle_seed=seed,
        batch_size=batch_size,
        controller=controller,
        name=name,
        **options,
    )


class Student:
    """A model in training.

    Args:
        corpus: That it is trained on.
        seed: Of its weights.
    """

    def __init__(self, corpus: Corpus, seed: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._corpus = corpus
        self.model = LanguageModel(corpus.vocab_size, WIDTH, LAYERS)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE)

    def decay(self, part: float) -> None:
        """Lower the learning rate in a line, where this part of the training is over."""
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - part)

    def step(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """A step, through ``model`` that may wrap its own; losses of the tokens, (sequences, LENGTH - 1)."""
        losses = token_losses(model(batch["input_ids"]), batch["labels"])
        self.optimizer.zero_grad()
        losses.mean().backward()
        self.optimizer.step()
        return losses.detach()

    @torch.no_grad()
    def evaluate(self) -> float:
        """Mean loss of what is held out, in nats a token."""
        return mean_loss(self.model, self._held_out)

    @cached_property
    def _held_out(self) -> torch.Tensor:
        """int64 (rows, LENGTH)."""
        held_out = Corpus(self._corpus.local, None, split="holdout")
        tokens = held_out.tokens_of(np.arange(len(held_out.documents)))
        rows = tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)[:HELD_OUT_ROWS]
        return torch.from_numpy(rows.astype(np.int64))


def mean_loss(model: torch.nn.Module, rows: torch.Tensor) -> float:
    """Mean loss of rows of tokens."""
    return float(torch.cat([token_losses(model(part), part) for part in rows.split(BATCH * 2)]).mean())


def token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each next token."""
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")


def train(folder: Path, controller: Any, seed: int, windows: int) -> Trained:
    """Train for so many windows, at a learning rate that falls to nothing."""
    dataset = make_dataset(folder, f"seed {seed}", controller, seed=seed, epoch_size=windows * WINDOW)
    student = Student(dataset.corpus, seed)
    held_out = [student.evaluate()]
    dataset.report(held_out=held_out[0], position=0)
    position = 0
    for batch in StreamingDataLoader(dataset, batch_size=BATCH):
        student.decay(position / (windows * WINDOW))
        dataset.report(batch, student.step(student.model, batch))
        position += BATCH
        if position % WINDOW == 0:
            held_out.append(student.evaluate())
            dataset.report(held_out=held_out[-1], position=position)
    return Trained(held_out, [useless_share(dataset, window) for window in range(windows)])


def useless_share(dataset: StreamingMegadocDataset, window: int) -> float:
    """That of a window, of its synthetic half."""
    if dataset.run.decisions is None:
        return 0.5
    return dataset.run.decisions.of(window).shares[STREAMS.index("useless")] / PARTS
