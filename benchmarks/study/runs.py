"""The runs of a study, and where all of it lies."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from setting import Grid, Setting

from streamdocs._base.unfinished import write_whole
from streamdocs.corpus import prepare_corpus
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError

#: What a recipe's name stands for in a run file, where it is web text alone.
WEB = "web"


@dataclass(frozen=True)
class Case:
    """One run.

    Args:
        recipe: Its name in the setting, or ``web``.
        generations: G; 0 for web text alone.
        documents: Web documents that it has.
        epochs: How often it reads them.
        share: Synthetic share of its sequences.
        seed: Of weights and order.
    """

    recipe: str
    generations: int
    documents: int
    epochs: int
    share: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        how = f"G{self.generations}-share{self.share.replace('/', 'of')}-" if self.generations else ""
        return f"{self.recipe}-{how}documents{self.documents}-epochs{self.epochs}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A study in its folder: ``corpora``, ``store``, ``runs``, and what is made of them.

    Args:
        setting: What is compared.
        text: Folder with real text.
        out: Its folder.
    """

    setting: Setting
    text: Path
    out: Path

    def cases(self) -> Iterator[Case]:
        """All runs, those of web text first, seed after seed."""
        setting = self.setting
        for seed in setting.seeds:
            for documents in setting.web.documents:
                for epochs in setting.web.epochs:
                    yield Case(WEB, 0, documents, epochs, "0", seed)
            for name, recipe in setting.recipes.items():
                for grid in recipe.grids:
                    yield from self._grid(name, grid, seed)

    def _grid(self, name: str, grid: Grid, seed: int) -> Iterator[Case]:
        for generations in grid.generations:
            for epochs in grid.epochs:
                for share in grid.shares:
                    yield Case(name, generations, self.setting.documents, epochs, share, seed)

    def folder(self, case: Case) -> Path:
        """Of a run."""
        return self.out / "runs" / case.name

    def has_result(self, case: Case) -> bool:
        """Whether a run is over."""
        return (self.folder(case) / "result.json").exists()

    def result(self, case: Case) -> dict[str, Any]:
        """What came of a run."""
        found: dict[str, Any] = json.loads((self.folder(case) / "result.json").read_text())
        return found

    def corpus_folder(self, documents: int) -> Path:
        """Of the corpus of so many documents."""
        return self.out / "corpora" / str(documents)

    def prepare(self) -> None:
        """Make the corpora that lack: each is the beginning of the larger ones, with the tokenizer of the text."""
        texts: list[str] | None = None
        for documents in sorted({case.documents for case in self.cases()}):
            if self.corpus_folder(documents).exists():
                continue
            texts = texts or self._texts()
            if len(texts) < documents:
                raise ConfigError(
                    f"{self.text} has {len(texts):,} documents to train on, and {documents:,} are asked for"
                )
            lines = self.out / f"{documents}.jsonl"
            lines.parent.mkdir(parents=True, exist_ok=True)
            lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:documents]))
            tokenizer = str(self.text / "corpus")
            prepare_corpus([str(lines)], self.corpus_folder(documents), tokenizer=tokenizer, progress=False)
            lines.unlink()

    def _texts(self) -> list[str]:
        return [self.whole.text(each) for each in np.random.default_rng(0).permutation(len(self.whole.documents))]

    @cached_property
    def whole(self) -> Corpus:
        """All that may be trained on, beside what is held out."""
        return Corpus(str(self.text / "corpus"), None, split="train")

    def sequences(self, case: Case) -> int:
        """Of a run: the web stream is read ``epochs`` times, and the rest is synthetic."""
        web = case.epochs * self.web_tokens(case) / self.setting.student.max_seq_len
        return math.ceil(web / (1 - Fraction(case.share)))

    def web_tokens(self, case: Case) -> int:
        """Distinct web tokens of a run, with the one that separates documents."""
        corpus = Corpus(str(self.corpus_folder(case.documents)), None, split="train")
        return int(corpus.tokens_per_document.sum()) + len(corpus.documents)

    def run_file(self, case: Case) -> Path:
        """Write the run file of a run into its folder, unless it is there."""
        path = self.folder(case) / "run.yaml"
        if not path.exists():
            fields: dict[str, Any] = {"corpus": str(self.corpus_folder(case.documents))}
            student = self.setting.student
            mix = {"max_seq_len": student.max_seq_len, "shuffle_seed": case.seed, "window": 64 * student.batch_size}
            if case.generations:
                fields |= {"store": str(self.out / "store"), **self.setting.run}
                fields["recipe"] = {**self.setting.recipes[case.recipe].recipe, "generations": case.generations}
            fields["mix"] = {**mix, "synthetic_fraction": case.share if case.generations else 0, "name": case.name}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, yaml.safe_dump(fields, sort_keys=False).encode())
        return path
