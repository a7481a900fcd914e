"""The tokenizer of a corpus. Text is data: nothing that a document says becomes a special token."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from streamdocs._base.arrays import Tokens
from streamdocs._base.hashing import fingerprint
from streamdocs._base.untrusted import load_json
from streamdocs.corpus.files import INDEX_FILE, TOKENIZER_FILE, load_index
from streamdocs.corpus.tokenizing.adopting import adopt, made_of_text, plain_text_tokenizer
from streamdocs.corpus.tokenizing.contents import Contents, token_texts, unknown_token
from streamdocs.corpus.tokenizing.long_texts import LONG, encode_long, pieces_to_learn_from
from streamdocs.errors import ConfigError, CorpusError, reason
from streamdocs.recipes.boundaries import TokenBoundaries

# Tried in this order where there is no tokenizer_config.json to say.
BOS_NAMES = ("<|begin_of_text|>", "<|begin▁of▁sentence|>", "<s>", "<bos>", "<|endoftext|>")
EOS_NAMES = ("<|end_of_text|>", "<|end▁of▁sentence|>", "<|endoftext|>", "</s>", "<eos>")


class CorpusTokenizer:
    """A Hugging Face ``tokenizers`` tokenizer that encodes text and nothing but text.

    Special-token strings in a text are spelled out in ordinary tokens, and so are all other added tokens
    (``<think>``, ``<tool_call>``) but for runs of whitespace. No token is added, nothing is cut or padded.
    Parts of a megadoc are encoded by themselves and decode to what they say: one that ``from_name_or_path`` opens puts
    no space before a text, as SentencePiece's mostly do.
    ``bos`` is None where the tokenizer has none, or has one token for both ends: then ``eos`` separates documents.
    Raises ``ConfigError`` where the file is not a tokenizer, or one whose model makes special tokens out of text.
    """

    def __init__(self, tokenizer_json: str, *, name: str, bos: int | None, eos: int) -> None:
        self.name = name
        self.bos = None if bos == eos else bos
        self.eos = eos
        try:
            self._contents = _parsed(tokenizer_json)
            self._tokenizer = plain_text_tokenizer(self._contents)
            names = {each["id"]: each["content"] for each in self._contents["added_tokens"] if each["special"]}
            self.vocab_size = max(*self._tokenizer.get_vocab().values(), *names) + 1
            self.dtype: Literal["uint16", "uint32"] = "uint16" if self.vocab_size <= 1 << 16 else "uint32"
            names = {i: self._tokenizer.id_to_token(i) or "" for i in self._ends} | names
            made = made_of_text(self._tokenizer, names)
            unknown = unknown_token(self._contents)
        except Exception as error:  # tokenizers raises bare Exception
            raise _unusable(name, error) from error
        if max(self._ends) >= self.vocab_size:
            raise ConfigError(f"{name}: the ends of documents ({bos}, {eos}) are no tokens of {self.vocab_size}")
        if unknown in made & self._ends:
            raise ConfigError(
                f"the tokenizer {name} would end a document at all that it does not know: {names[unknown]} is also its "
                "unknown token. Name another eos_token and bos_token in its tokenizer_config.json"
            )
        if made := made - {unknown}:
            raise ConfigError(
                f"the tokenizer {name} makes special tokens of plain text ({', '.join(names[i] for i in sorted(made))})"
                ": its model has them among its words. Rename them there (model.vocab in tokenizer.json, and the same "
                "in added_tokens) to what no text contains"
            )

    def __getstate__(self) -> dict[str, Any]:
        # A Tokenizer forgets in pickling that it is to take special tokens for text.
        return {name: value for name, value in vars(self).items() if not isinstance(value, Tokenizer)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._tokenizer = plain_text_tokenizer(self._contents)

    @classmethod
    def from_name_or_path(cls, source: str) -> "CorpusTokenizer":
        """A ``tokenizer.json``, a folder with one, or whatever else ``transformers.AutoTokenizer`` knows by this name.

        Raises ``ConfigError`` where there is no such tokenizer, no fast version of it or no end-of-sequence token.
        """
        path = Path(source)
        file = path / TOKENIZER_FILE if path.is_dir() else path
        return cls._from_file(file, source) if file.is_file() else cls._from_transformers(source)

    @classmethod
    def _from_file(cls, file: Path, name: str) -> "CorpusTokenizer":
        config_file = file.with_name("tokenizer_config.json")
        try:
            contents = file.read_text("utf-8")
            tokenizer = Tokenizer.from_str(contents)
            config = json.loads(config_file.read_text("utf-8")) if config_file.is_file() else {}
        except Exception as error:  # tokenizers raises bare Exception
            raise _unusable(str(file), error) from error
        bos = _special_id(tokenizer, config, "bos_token", BOS_NAMES)
        eos = _special_id(tokenizer, config, "eos_token", EOS_NAMES)
        named = [_special_id(tokenizer, config, field, ()) for field in config if field.endswith("_token")]
        return cls._adopted(contents, name, bos, _require_eos(eos, name), named)

    @classmethod
    def _from_transformers(cls, name: str) -> "CorpusTokenizer":
        try:
            from transformers import AutoTokenizer  # noqa: PLC0415  (takes seconds)

            found = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except (ImportError, OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"no tokenizer {name!r}, neither a path nor a Hugging Face name: {reason}") from error
        except Exception as error:  # what a tokenizer of another version makes of it
            raise _unusable(repr(name), error) from error
        if not found.is_fast:
            raise ConfigError(f"the tokenizer {name!r} has no fast version: use one that comes with a tokenizer.json")
        eos = _require_eos(found.eos_token_id, name)
        contents, bos = found.backend_tokenizer.to_str(), found.bos_token_id
        return cls._adopted(contents, name, bos, eos, found.all_special_ids)

    @classmethod
    def _adopted(
        cls, contents: str, name: str, bos: int | None, eos: int, special: Iterable[int | None]
    ) -> "CorpusTokenizer":
        try:
            adopted = adopt(json.loads(contents), {each for each in (*special, bos, eos) if each is not None})
        except Exception as error:  # tokenizers raises bare Exception
            raise _unusable(name, error) from error
        return cls(json.dumps(adopted), name=name, bos=bos, eos=eos)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "CorpusTokenizer":
        """A byte-level BPE tokenizer of at most ``vocab_size`` tokens, learned from texts; any text can be encoded."""
        specials = [BOS_NAMES[0], EOS_NAMES[0]]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if vocab_size < len(alphabet) + len(specials):
            raise ConfigError(f"a vocabulary of {vocab_size} is too small: at least {len(alphabet) + len(specials)}")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(chain.from_iterable(map(pieces_to_learn_from, texts)), trainer)
        return cls(tokenizer.to_str(), name="byte-level BPE", bos=0, eos=1)

    @classmethod
    def load(cls, corpus: str | Path) -> "CorpusTokenizer":
        """The tokenizer of a corpus folder; ``CorpusError`` where its file is missing or not the one that was used."""
        contents, section = _load(corpus)
        try:
            return cls(json.dumps(contents), name=section["name"], bos=section["bos"], eos=section["eos"])
        except ConfigError as error:
            raise CorpusError(f"{Path(corpus) / TOKENIZER_FILE} cannot be used: {error}") from error

    def save(self, folder: str | Path) -> None:
        """Write ``tokenizer.json`` into a folder."""
        contents = json.dumps(self._contents, ensure_ascii=False, indent=2)
        (Path(folder) / TOKENIZER_FILE).write_text(contents, "utf-8")

    def describe(self) -> dict[str, Any]:
        """The tokenizer's section of ``corpus.json``."""
        fields = ("name", "vocab_size", "bos", "eos", "dtype", "digest")
        return {field: getattr(self, field) for field in fields}

    @cached_property
    def digest(self) -> str:
        """The tokenizer's identity, as 32 hexadecimal digits: everything that decides which tokens a document gets."""
        return _digest(self._contents, self.bos, self.eos)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text, as arrays of ``dtype``; on all cores and without the interpreter lock."""
        short = [text if len(text) <= LONG else "" for text in texts]
        encoded = self._tokenizer.encode_batch_fast(short, add_special_tokens=False)
        arrays = [self._array(each.ids) for each in encoded]
        for number in (number for number, text in enumerate(texts) if len(text) > LONG):
            arrays[number] = self._encode_long(texts[number])
        return arrays

    def _encode_long(self, text: str) -> Tokens:
        tokens = encode_long(self._tokenizer, text)
        return self._array(self._tokenizer.encode(text, add_special_tokens=False).ids if tokens is None else tokens)

    def encode_offsets(self, text: str) -> tuple[Tokens, list[tuple[int, int]]]:
        """The tokens of a text, and of each the range of characters that it stands for.

        The tokens of one character that takes several all have that character's range.
        """
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return self._array(encoding.ids), encoding.offsets

    def encode_marks(self, text: str) -> Tokens:
        """The tokens of a string of the configuration (not of a document): here special tokens are recognised."""
        return self._array(self._marks_tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> str:
        """The text of tokens, special tokens by their names."""
        return self._marks_tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False)

    def _array(self, ids: list[int]) -> Tokens:
        return np.array(ids, dtype=self.dtype)

    @property
    def _ends(self) -> set[int]:
        return {self.eos} if self.bos is None else {self.bos, self.eos}

    @cached_property
    def _marks_tokenizer(self) -> Tokenizer:
        return Tokenizer.from_str(json.dumps(self._contents))


def load_boundaries(corpus: str | Path) -> TokenBoundaries:
    """Where documents of a corpus may be cut: from its tokenizer's file alone; ``CorpusError`` as ``load``."""
    return TokenBoundaries.of(token_texts(_load(corpus)[0]))


def _load(corpus: str | Path) -> tuple[Contents, dict[str, Any]]:
    """The tokenizer of a corpus folder, and what the corpus says of it."""
    section = load_index(corpus)["tokenizer"]
    path = Path(corpus) / TOKENIZER_FILE
    try:
        contents = _parsed(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read: {reason(error)}") from error
    if _digest(contents, section["bos"], section["eos"]) != section["digest"]:
        raise CorpusError(f"{path} is not the tokenizer of {INDEX_FILE}: it was changed after the corpus was made")
    return contents, section


def _parsed(tokenizer_json: str) -> Contents:
    contents: Contents = load_json(tokenizer_json.encode("utf-8", "surrogatepass"))
    if not isinstance(contents, dict):
        raise ValueError("it is no JSON object")
    # The post-processor would add special tokens, and trims spaces off the offsets.
    contents.update(truncation=None, padding=None, post_processor=None)
    return contents


def _digest(contents: Contents, bos: int | None, eos: int) -> str:
    return fingerprint([contents, bos, eos])


def _unusable(what: str, error: Exception) -> ConfigError:
    reason = str(error).strip().partition("\n")[0]
    return ConfigError(
        f"{what} is not a usable tokenizer.json for tokenizers {tokenizers.__version__}, which may be older or newer "
        f"than what wrote it ({reason}): save it again with this version, or take another tokenizer"
    )


def _special_id(tokenizer: Tokenizer, config: dict[str, Any], field: str, guesses: Sequence[str]) -> int | None:
    if field in config:
        token = config[field]
        guesses = [token["content"] if isinstance(token, dict) else token] if token else []
    return next((i for i in map(tokenizer.token_to_id, guesses) if i is not None), None)


def _require_eos(eos: int | None, name: str) -> int:
    if eos is None:
        raise ConfigError(
            f"the tokenizer {name!r} has no end-of-sequence token, and documents must end: "
            "name one of its tokens as eos_token in a tokenizer_config.json beside its tokenizer.json"
        )
    return eos
