"""A run: the configuration, the corpora, and all the arithmetic that follows from the two.

Trainer and server each build one from the same run file, and so agree without talking.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from streamdocs._base.hashing import canonical, digest128, fingerprint
from streamdocs.config import RunFile
from streamdocs.corpus.reader import Corpus
from streamdocs.documents import Documents
from streamdocs.errors import ConfigError, FingerprintError
from streamdocs.recipes.keys import FORMAT_VERSION, Generator, Writers
from streamdocs.schedule.mixture import SYNTHETIC, WEB, Mixture, Share
from streamdocs.schedule.order import Shuffle
from streamdocs.steering.controllers import FIXED
from streamdocs.steering.decisions import Decisions
from streamdocs.store import Store
from streamdocs.streams import GenerationScope, Stream, SyntheticStream, WebStream

Who = Generator | Writers | None
#: Most bytes of JSON that a name takes in a state.
_LONGEST = 256
#: What a field says by not being there.
_LEFT_OUT = {"controller": FIXED}


class Run:
    """One run: what is read, what becomes of it, in which order, and who writes.

    Args:
        file: Says so.
        corpora: Those that it names, by their folders.
        generator: Who writes, or what says so; None where nothing synthetic is read.
    """

    def __init__(
        self,
        file: RunFile,
        corpora: Mapping[str, Corpus],
        generator: Who | Callable[[], Who],
    ) -> None:
        mix, sections = file.mix, file.streams_by_name
        #: The one that streams are of which name no other.
        self.corpus = corpora[file.corpus]
        shuffle = Shuffle(
            mix.shuffle_seed,
            shuffle=mix.shuffle,
            algorithm=mix.shuffle_algo,
            canonical_nodes=mix.num_canonical_nodes,
            block_size=mix.shuffle_block_size,
        )
        shares = [Share(name, section.recipe is not None, section.fraction) for name, section in sections.items()]
        self.mixture = Mixture(shares, mix.max_seq_len, mix.window, mix.shuffle_seed)
        #: By which the synthetic streams' shares move; None where they do not.
        self.decisions = Decisions(mix.controller, self.mixture) if mix.controller else None
        sources = _documents(file, corpora)
        numbered = [(name, number, section) for number, (name, section) in enumerate(sections.items())]
        self.web = [
            WebStream(name, number, sources[name], shuffle)
            for name, number, section in numbered
            if not section.synthetic
        ]
        # Last, since it may wait for somebody to say: what else cannot be is known by then.
        made = generator() if callable(generator) else generator
        #: Who writes; None where nothing synthetic is read.
        self.writers = Writers.of(made) if isinstance(made, Generator) else made
        self.synthetic = [
            SyntheticStream(
                *(name, number, sources[name], section.recipe, self.mixture, shuffle, self.writers),
                section.when_behind or mix.when_behind,
                section.max_reuse or mix.max_reuse,
            )
            for name, number, section in numbered
            if section.recipe and self.writers
        ]
        _check_graphs(self.synthetic)
        self.fingerprint = self._fingerprint(file, shuffle)

    @classmethod
    def of(cls, file: RunFile, generator: Who | Callable[[], Who], store: Store | None = None) -> "Run":
        """The run of a run file: the only way from configuration to arithmetic, for trainer, server and every command.

        Args:
            file: What is to be read.
            generator: Who writes, as the file, the server or the store says; None where nothing synthetic is read. A
                function is asked once all else is known to be right.
            store: Where what was sealed of it is looked up, if it is already known.

        Raises:
            ConfigError: It says what cannot be.
            CorpusError: A corpus cannot be read.
        """
        corpora = {local: _open(file, local, remote) for local, remote in file.corpora.items()}
        _check_tokenizers(corpora)
        run = cls(file, corpora, generator)
        if store:
            run.attach(store)
        return run

    def attach(self, store: Store) -> None:
        """From now on, take from a store what was sealed there: of graphs and their walks, and of shares that move."""
        for scope in self.scopes:
            scope.attach(store)
        if self.decisions:
            self.decisions.attach(store, self.id)

    @property
    def streams(self) -> list[Stream]:
        """All streams, by their numbers; without the synthetic ones where nobody writes."""
        return sorted([*self.web, *self.synthetic], key=lambda stream: stream.number)

    @property
    def corpora(self) -> list[Corpus]:
        """Every corpus of the run once, in the order of the streams."""
        return list(dict.fromkeys(stream.corpus for stream in self.streams))

    @property
    def scopes(self) -> list[GenerationScope]:
        """All that generations are asked for by: of the synthetic streams, and of the concepts of their graphs."""
        scopes = [stream.scope for stream in self.synthetic]
        concepts = {scope.concepts.id: scope.concepts for scope in scopes if scope.concepts}
        return [*scopes, *concepts.values()]

    def stream(self, name: str | None = None) -> SyntheticStream:
        """A synthetic stream, by its name; without one, the only one that there is.

        Raises:
            ConfigError: There is none of this name, or there are several.
        """
        found = [stream for stream in self.synthetic if name in (None, stream.name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(stream.name for stream in self.synthetic) or "none"
        raise ConfigError(f"stream {name or 'which'}: the synthetic streams of this run are {names}")

    @property
    def epoch_sequences(self) -> int:
        """Sequences of one pass over the web tokens, those of all web streams; of the sources where there are none."""
        read = [stream for stream in self.web if self.mixture.shares[stream.number].fraction]
        sources = read or [stream.filler for stream in self.synthetic]
        return self.mixture.epoch_sequences(sum(stream.tokens for stream in sources))

    @property
    def id(self) -> bytes:
        """Under which is what it has in common for all streams: decisions and reports; 16 bytes."""
        return ledger_id(self.fingerprint, "")

    def ledger_id(self, stream: SyntheticStream) -> bytes:
        """Under which the sealed windows of a stream are."""
        return ledger_id(self.fingerprint, self.ledger_name(stream))

    def ledger_name(self, stream: SyntheticStream) -> str:
        """What tells the sealed windows of a stream from those of the run's others; "" where there is only one kind."""
        return "" if self._is_plain else stream.name

    @property
    def _is_plain(self) -> bool:
        """Whether its streams are those of a recipe and a fraction, however they were said."""
        names = [share.name for share in self.mixture.shares]
        whole = all(stream.sources.is_all_of(self.corpus) for stream in self.streams)
        return whole and names in ([WEB], [WEB, SYNTHETIC])

    def _fingerprint(self, file: RunFile, shuffle: Shuffle) -> dict[str, str | int]:
        """What the batches depend on apart from the store; the number of rounds and ``when_behind`` may change."""
        fields: dict[str, str | int] = {
            "format": FORMAT_VERSION,
            "corpus": self.corpus.digest,
            "tokenizer": self.corpus.tokenizer_digest,
            "shuffle_seed": shuffle.seed,
            "shuffle": fingerprint(shuffle.identity[1:]),
            "synthetic_fraction": str(self.mixture.fraction),
            "max_seq_len": self.mixture.max_seq_len,
            "window": self.mixture.window,
            "name": file.mix.name,
        }
        if self._is_plain:
            fields.update(("recipe", _recipe(stream)) for stream in self.synthetic)
        else:
            fields |= {f"stream {stream.name}": self._described(stream) for stream in self.streams}
        if controller := file.mix.controller:
            fields["controller"] = f"{controller.name} {fingerprint(controller.identity)}"
        if self.writers:
            fields["generator"] = f"{self.writers.default.model} {self.writers.default.fingerprint}"
        return fields

    def _described(self, stream: Stream) -> str:
        """What the batches depend on of one of several streams."""
        parts = [str(self.mixture.shares[stream.number].fraction), *stream.sources.identity_names]
        return ", ".join([*parts, *([_recipe(stream)] if isinstance(stream, SyntheticStream) else [])])


def ledger_id(fields: Mapping[str, str | int], stream: str) -> bytes:
    """Under which the sealed windows of a run are, of the stream with this ``ledger_name``; 16 bytes."""
    return digest128(canonical([fields, stream] if stream else fields))


def _recipe(stream: SyntheticStream) -> str:
    who = "" if stream.recipe.is_plain else f" {stream.scope.written_by}"
    return f"{stream.recipe.name} {fingerprint(stream.recipe.identity)}{who}"


def _check_graphs(streams: list[SyntheticStream]) -> None:
    """Raise ConfigError where two streams make different graphs of the same concepts."""
    made: dict[bytes, tuple[str, list[Any]]] = {}
    for stream in streams:
        if (concepts := stream.scope.concepts) and (graph := stream.recipe.graph):
            name, identity = made.setdefault(concepts.id, (stream.name, graph.identity))
            if identity != graph.identity:
                raise ConfigError(
                    f"streams {name} and {stream.name} read the same concepts: give both recipes the same editions, "
                    "min_documents and max_share"
                )


def _documents(file: RunFile, corpora: Mapping[str, Corpus]) -> dict[str, Documents]:
    """What each stream reads, by its name; those that read the same share it."""
    made: dict[tuple[str, bytes], Documents] = {}
    found = {}
    for name, section in file.streams_by_name.items():
        corpus = section.corpus or file.corpus
        which = corpus, canonical(section.where and section.where.identity)
        if which not in made:
            made[which] = Documents(corpora[corpus], section.where)
        found[name] = made[which]
    return found


def _open(file: RunFile, local: str, remote: str | None) -> Corpus:
    return Corpus(
        local,
        remote,
        file.split,
        download_timeout=file.download_timeout,
        download_retry=file.download_retry,
        cache_limit=file.cache_limit,
    )


def _check_tokenizers(corpora: Mapping[str, Corpus]) -> None:
    """Raise ConfigError where corpora have several tokenizers: their tokens would be read as those of one."""
    first, *others = corpora.items()
    for local, corpus in others:
        if corpus.tokenizer_digest != first[1].tokenizer_digest:
            names = (each.index["tokenizer"]["name"] for each in (first[1], corpus))
            raise ConfigError(
                "corpora {} and {} have different tokenizers, {} and {}: prepare one of them again with --tokenizer "
                "of the other's folder".format(first[0], local, *names)
            )


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
        raise FingerprintError(
            f"the {what} belongs to another run: {found}. Go on with the run file that it was made with, or begin anew"
        )


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], what: str) -> str:
    """The fields in which two runs differ, ``what`` being where theirs come from; "" for none."""
    fields = [field for field in sorted({*theirs, *ours}) if theirs.get(field) != ours.get(field)]
    told = ((field, *(each.get(field, _LEFT_OUT.get(field)) for each in (theirs, ours))) for field in fields)
    return "; ".join(f"{field}: {there} in the {what}, {here} here" for field, there, here in told)
