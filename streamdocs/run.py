"""A run: the configuration, the corpus, and all the arithmetic that follows from the two.

Trainer and server each build one from the same run file, and so agree without talking.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from streamdocs._base.arrays import Int32s, Ints, Tokens
from streamdocs._base.hashing import canonical, digest128, fingerprint
from streamdocs.config import RunFile
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import FingerprintError
from streamdocs.recipes import Recipe, Rephrase
from streamdocs.recipes.boundaries import TokenBoundaries
from streamdocs.recipes.keys import FORMAT_VERSION, Generator, Keyring
from streamdocs.recipes.layout import WEB_LAYOUT, Part
from streamdocs.schedule.mixture import Mixture, exact_fraction
from streamdocs.schedule.order import DocumentOrder
from streamdocs.schedule.packing import Packer, Units
from streamdocs.schedule.rounds import GenerationOrder

#: Most bytes of JSON that a name takes in a state.
_LONGEST = 256


class GenerationScope:
    """What decides which generations are asked for, in which order and under which keys.

    Args:
        corpus, recipe, generator, order: The run's.
    """

    def __init__(self, corpus: Corpus, recipe: Recipe, generator: Generator, order: DocumentOrder) -> None:
        self.corpus = corpus
        self.recipe = recipe
        self.generator = generator
        self.order = order
        self.generation_order = GenerationOrder(recipe, order)
        self.keyring = Keyring(recipe, generator, corpus.tokenizer_digest)
        asked = recipe.scope(corpus.tokenizer_digest)
        parts = [corpus.digest, *asked, generator.fingerprint, order.identity]
        # Keys hold the version, so that what another one has resolved is not there for this one.
        self.id = digest128(canonical([FORMAT_VERSION, *parts]))
        #: The same by field, to name those in which two scopes differ.
        self.fields: dict[str, Any] = {
            "corpus": corpus.digest,
            "recipe": f"{recipe.kind} {fingerprint(asked)}",
            "generations": recipe.generations,
            "per_round": recipe.round_size,
            "generator": f"{generator.model} {generator.fingerprint}",
            **order.fields,
        }

    def cut_places(self, text: str, round: int) -> list[int]:
        """The characters of a document at which the generations of a round go in, in the order of their slots."""
        tokens, offsets = self.corpus.tokenizer.encode_offsets(text)
        slots = np.array(self.recipe.slots_of_round(round))
        cuts = self.recipe.cuts(np.array(len(tokens)), slots)
        if self.recipe.cuts_at_boundaries:
            cuts = self.corpus.boundaries.nearest(tokens, np.array([len(tokens)]), cuts, np.array([len(cuts)]))
        starts = [start for start, _ in offsets] + [len(text)]
        return [starts[cut] for cut in cuts.tolist()]


class Run:
    """One run: what is read, what becomes of it, in which order, and who writes.

    Args:
        file: Says so.
        corpus: The one that it names.
        generator: Who writes; None where nothing synthetic is read.
    """

    def __init__(self, file: RunFile, corpus: Corpus, generator: Generator | None) -> None:
        mix, recipe = file.mix, file.recipe or Rephrase(generations=1)
        self.corpus = corpus
        self.recipe = recipe
        self.order = DocumentOrder(
            corpus.shard_sizes,
            mix.shuffle_seed,
            shuffle=mix.shuffle,
            algorithm=mix.shuffle_algo,
            canonical_nodes=mix.num_canonical_nodes,
            block_size=mix.shuffle_block_size,
        )
        self.scope = GenerationScope(corpus, recipe, generator, self.order) if generator else None
        self.mixture = Mixture(exact_fraction(mix.synthetic_fraction), mix.max_seq_len, mix.window, mix.shuffle_seed)
        self.constants = _constants(corpus, recipe)
        move = partial(_moved_cuts, corpus, corpus.boundaries) if recipe.cuts_at_boundaries else None
        self.unit_packer = Packer(recipe, recipe.layout, self.constants, move)
        self.web_packer = Packer(recipe, WEB_LAYOUT, self.constants)
        self._ends = sum(len(self.constants[part]) for part in (Part.BOS, Part.EOS))
        self.web_tokens = int(corpus.tokens_per_document.sum()) + self._ends * len(corpus.tokens_per_document)
        self.fingerprint = self._fingerprint(mix.name)
        self.ledger_id = digest128(canonical(self.fingerprint))

    @classmethod
    def of(cls, file: RunFile, generator: Generator | Callable[[], Generator | None] | None) -> "Run":
        """The run of a run file: the only way from configuration to arithmetic, for trainer, server and every command.

        Args:
            file: What is to be read.
            generator: Who writes, as the file, the server or the store says; None where nothing synthetic is read. A
                function is asked once the corpus is known to be there.

        Raises:
            ConfigError: It says what cannot be.
            CorpusError: The corpus cannot be read.
        """
        corpus = Corpus(
            file.corpus,
            file.remote,
            file.split,
            download_timeout=file.download_timeout,
            download_retry=file.download_retry,
            cache_limit=file.cache_limit,
        )
        return cls(file, corpus, generator() if callable(generator) else generator)

    @property
    def synthetic(self) -> bool:
        """Whether anything synthetic is read at all."""
        return self.mixture.fraction > 0

    def web_unit_tokens(self, documents: Ints | Int32s) -> Ints:
        """int64 (documents,): tokens of some web documents in the web stream."""
        return self.corpus.tokens_per_document[documents] + self._ends

    def unit_tokens(self, units: Units) -> Ints:
        """int64 (units,): tokens of each unit of the synthetic stream."""
        return self.unit_packer.unit_tokens(units, self.corpus.tokens_per_document[units.documents])

    def _fingerprint(self, name: str) -> dict[str, str | int]:
        """What the batches depend on apart from the store; the number of rounds and ``when_behind`` may change."""
        fields: dict[str, str | int] = {
            "format": FORMAT_VERSION,
            "corpus": self.corpus.digest,
            "tokenizer": self.corpus.tokenizer_digest,
            "shuffle_seed": self.order.seed,
            "shuffle": fingerprint(self.order.identity[1:]),
            "synthetic_fraction": str(self.mixture.fraction),
            "max_seq_len": self.mixture.max_seq_len,
            "window": self.mixture.window,
            "name": name,
        }
        if self.scope:
            fields["recipe"] = f"{self.recipe.name} {fingerprint(self.recipe.identity)}"
            fields["generator"] = f"{self.scope.generator.model} {self.scope.generator.fingerprint}"
        return fields


def shortened(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint that fits a state of few bytes: long names in it by their beginning and a digest."""
    return {
        field: f"{value[:16]}… {fingerprint(value)}" if len(json.dumps(value)) > _LONGEST else value
        for field, value in fields.items()
    }


def check_fingerprint(theirs: Mapping[str, str | int], ours: Mapping[str, str | int], what: str) -> None:
    """Make sure that two fingerprints, shortened or not, are of one run, ``what`` being where theirs comes from.

    Raises:
        FingerprintError: They are not; the message names each field that differs.
    """
    if found := differences(shortened(theirs), shortened(ours), what):
        raise FingerprintError(f"the {what} belongs to another run: {found}")


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], what: str) -> str:
    """The fields in which two runs differ, ``what`` being where theirs come from; "" for none."""
    fields = [field for field in sorted({*theirs, *ours}) if theirs.get(field) != ours.get(field)]
    return "; ".join(f"{field}: {theirs.get(field)} in the {what}, {ours.get(field)} here" for field in fields)


def _moved_cuts(corpus: Corpus, boundaries: TokenBoundaries, documents: Ints, counts: Ints, cuts: Ints) -> Ints:
    """The cuts of some documents, ``counts`` (documents,) of each, where they are nearest to a boundary."""
    documents, counts = documents[counts > 0], counts[counts > 0]
    return boundaries.nearest(corpus.tokens_of(documents), corpus.tokens_per_document[documents], cuts, counts)


def _constants(corpus: Corpus, recipe: Recipe) -> dict[Part, Tokens]:
    marks = {Part.SEPARATOR: "separator", Part.OPEN: "open_mark", Part.CLOSE: "close_mark"}
    tokens = corpus.encode_marks([getattr(recipe, name, "") for name in marks.values()])
    ends = [np.array([] if token is None else [token], corpus.dtype) for token in corpus.ends]
    return dict(zip([*marks, Part.BOS, Part.EOS], [*tokens, *ends], strict=True))
