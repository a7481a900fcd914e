"""Making a tokenizer that people use fit for a corpus: what it would do to plain text is tried, and changed."""

import json
from collections.abc import Collection, Mapping
from itertools import chain

from tokenizers import Tokenizer

from streamdocs.corpus.tokenizing.contents import (
    Contents,
    for_plain_text,
    is_whitespace,
    spelled_out,
    unknown_token,
    without_added_spaces,
)

#: Every byte that UTF-8 has, and characters that few models know.
_UNHEARD_OF = "".join(map(chr, [*range(0x100), *range(0x100, 0xD800, 64), *range(0x10000, 0x110000, 0x8000)]))


def adopt(contents: Contents, special: Collection[int]) -> Contents:
    """What a corpus has of a tokenizer: it adds no spaces, and makes no added token of text, as far as can be.

    This is for one that no corpus has yet: documents, generations and marks have to be encoded alike.

    Args:
        contents: The tokenizer; returned as it is where nothing has to be changed.
        special: Tokens that text must not become, beside its added tokens.
    """
    contents = _without_added_spaces(contents)
    tokenizer = Tokenizer.from_str(json.dumps(contents))
    names = {each["id"]: each["content"] for each in contents["added_tokens"] if not is_whitespace(each)}
    names |= {token: tokenizer.id_to_token(token) or "" for token in special}
    made = made_of_text(plain_text_tokenizer(contents), names) - {unknown_token(contents)}
    return spelled_out(contents, made) if made else contents


def plain_text_tokenizer(contents: Contents) -> Tokenizer:
    """A tokenizer that takes special tokens for text."""
    tokenizer = Tokenizer.from_str(json.dumps(for_plain_text(contents)))
    tokenizer.encode_special_tokens = True
    return tokenizer


def made_of_text(tokenizer: Tokenizer, names: Mapping[int, str]) -> set[int]:
    """Those of some tokens, given with their names, that a tokenizer makes of these names or of what it cannot know."""
    # A model (Unigram, say) may have them among its own pieces; only a trial can tell.
    probes = [probe for name in names.values() for probe in (name, f"a{name} b")]
    tried = tokenizer.encode_batch_fast([*probes, _UNHEARD_OF], add_special_tokens=False)
    return names.keys() & set(chain.from_iterable(each.ids for each in tried))


def _without_added_spaces(contents: Contents) -> Contents:
    """That, but for tokenizers that would run words together: T5's splits at spaces and marks each word with one."""
    changed = without_added_spaces(contents)
    pair = [plain_text_tokenizer(each) for each in (contents, changed)]
    before, after = (each.decode(each.encode("a b", add_special_tokens=False).ids) for each in pair)
    return changed if after == before.removeprefix(" ") else contents
