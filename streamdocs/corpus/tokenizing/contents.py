"""What a ``tokenizer.json`` says, and what is changed in one before a corpus is made with it."""

import re
from collections.abc import Collection, Iterator
from typing import Any

#: A ``tokenizer.json``, parsed.
Contents = dict[str, Any]

_PIPELINE = ("normalizer", "pre_tokenizer", "decoder")
_LISTS = ("normalizers", "pretokenizers", "decoders")
#: Stands for a space in the pieces of SentencePiece and its heirs.
_SPACE = "▁"


def without_added_spaces(contents: Contents) -> Contents:
    """The same tokenizer, but that it puts no space before a text and takes none off: ``add_dummy_prefix=False``.

    Parts of a megadoc are tokenised one by one, so each would gain a space that its text does not have.
    Where nothing adds one, ``contents`` themselves.
    """
    if not any(map(_adds_space, _parts(contents, "normalizer", "pre_tokenizer"))):
        return contents
    return {**contents, **{stage: _without_space(contents.get(stage)) for stage in _PIPELINE}}


def _parts(contents: Contents, *stages: str) -> Iterator[dict[str, Any]]:
    """What some stages of a tokenizer are made of, sequences taken apart."""
    waiting = [contents.get(stage) for stage in stages]
    while waiting:
        part = waiting.pop()
        if part:
            yield part
            waiting += [each for name in _LISTS for each in part.get(name, [])]


def _adds_space(part: dict[str, Any]) -> bool:
    match part["type"]:
        case "Prepend":
            return True
        case "Metaspace":
            return part.get("prepend_scheme", "always") != "never" and part.get("add_prefix_space", True)
        case "ByteLevel":
            return bool(part.get("add_prefix_space"))
    return False


def _without_space(part: dict[str, Any] | None) -> dict[str, Any] | None:
    if part is None:
        return None
    part = {**part, **{name: list(filter(None, map(_without_space, part[name]))) for name in _LISTS if name in part}}
    match part["type"]:
        case "Prepend":
            return None
        case "Metaspace":
            return {"type": "Metaspace", "replacement": part["replacement"], "prepend_scheme": "never"} | (
                {"split": part["split"]} if "split" in part else {}
            )
        case "ByteLevel":
            return {**part, "add_prefix_space": False}
        case "Strip" if part.get("content") == " ":  # of a decoder: it takes off what was added
            return {**part, "start": 0}
    return part


def unknown_token(contents: Contents) -> int | None:
    """The id of what stands for text that the tokenizer does not know; None where it has no such token."""
    model = contents["model"]
    if "unk_id" in model:
        return model["unk_id"]
    return model["vocab"].get(model.get("unk_token"))


def is_whitespace(added_token: dict[str, Any]) -> bool:
    """Whether an added token is a run of whitespace."""
    return added_token["content"].replace(_SPACE, " ").isspace()


def spelled_out(contents: Contents, tokens: Collection[int]) -> Contents:
    """The same tokenizer, but that its model makes none of ``tokens`` of text, as far as one of its kind can."""
    model, pieces = contents["model"], _pieces(contents)
    if model["type"] == "Unigram":  # which ``for_plain_text`` takes special tokens out of
        options = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added = {each["id"]: each for each in contents["added_tokens"]}
        added |= {i: {"id": i, "content": pieces[i], **options, **added.get(i, {}), "special": True} for i in tokens}
        return {**contents, "added_tokens": [added[i] for i in sorted(added)]}
    if model["type"] == "BPE":
        names = {pieces[i] for i in tokens if i in pieces}
        merges = [pair for pair in model["merges"] if "".join(_pair(pair)) not in names]
        return {**contents, "model": {**model, "merges": merges}}
    return contents


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def for_plain_text(contents: Contents) -> Contents:
    """``contents`` as a tokenizer needs them that takes special tokens for text (``encode_special_tokens``)."""
    added, model = contents["added_tokens"], contents["model"]
    if model["type"] == "Unigram":
        # Its special tokens are pieces like any other, which would be found in text: an empty one never is.
        special = {each["id"] for each in added if each["special"]}
        vocab = [["" if i in special else piece, score] for i, (piece, score) in enumerate(model["vocab"])]
        added = [each for each in added if each["id"] not in special or each["id"] >= len(vocab)]
        model = {**model, "vocab": vocab}
    # Runs of whitespace are how GPT-NeoX and its heirs write ordinary text.
    tokens = [{**each, "special": not each["content"].isspace()} for each in added]
    return {**contents, "added_tokens": tokens, "model": model}


def token_texts(contents: Contents) -> dict[int, bytes]:
    """What each token stands for in a text, by its id, in UTF-8; parts of characters where it stands for those.

    Tokens of models that drop whitespace (WordPiece, WordLevel) have a space where a word begins or ends.
    """
    kinds = {part["type"] for part in _parts(contents, *_PIPELINE)}
    read = _of_bytes if "ByteLevel" in kinds else _of_sentencepiece
    model = contents["model"]
    continuing, ending = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    begins_words = model["type"] in ("WordPiece", "WordLevel")
    texts = {}
    for i, piece in _pieces(contents).items():
        whole = piece.removesuffix(ending)
        text = read(whole.removeprefix(continuing))
        before = b" " if begins_words and (whole.removeprefix(continuing) == whole) else b""
        texts[i] = before + text + (b" " if ending and whole != piece else b"")
    return texts | {each["id"]: each["content"].encode() for each in contents["added_tokens"]}


def _pieces(contents: Contents) -> dict[int, str]:
    vocab = contents["model"]["vocab"]
    if isinstance(vocab, dict):
        return {i: piece for piece, i in vocab.items()}
    return {i: piece for i, (piece, _) in enumerate(vocab)}


_BYTE = re.compile("<0x([0-9A-F]{2})>")


def _of_sentencepiece(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1]) if byte else piece.replace(_SPACE, " ").encode()


# GPT-2's spelling of bytes: those that can be printed are themselves, the others follow from U+0100 on.
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = {chr(byte): byte for byte in _PRINTED}
_BYTES |= {chr(0x100 + n): byte for n, byte in enumerate(sorted({*range(256)} - {*_PRINTED}))}


def _of_bytes(piece: str) -> bytes:
    return b"".join(bytes([_BYTES[char]]) if char in _BYTES else char.encode() for char in piece)
