"""Which questions were asked before in their stream, word for word or nearly.

By MinHash (Broder 1997) over shingles of words, in bands (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
section 3.4): of two questions whose shingles have a Jaccard similarity of s, one of b bands of r is the same with
probability 1 - (1 - s^r)^b.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from streamdocs._base.hashing import seeded_numbers
from streamdocs.store import Snapshot
from streamdocs_server.gates.words import UNSPACED

BANDS, ROWS = 8, 16
#: Words of a shingle.
SHINGLE = 3

# What is asked of two numbers is another question with another sign; a sign alone, since several are Markdown.
_SIGNS = r"+<=>|~^¬±×÷\u2190-\u22ff\u27c0-\u27ef\u2980-\u2aff"
_WORD = re.compile(rf"[{UNSPACED}{_SIGNS}]|[^\W{UNSPACED}]+|(?<![-*/%#])[-*/%#](?![-*/%#])")
# A permutation of the 64-bit integers each: one times an odd number, plus another.
_FACTORS, _TERMS = (seeded_numbers(np.arange(BANDS * ROWS), "questions", each) for each in ("factors", "terms"))
_FACTORS |= np.uint64(1)


@dataclass(frozen=True)
class Decided:
    """What was decided of a block.

    Args:
        asked: By item and slot, whether the question was asked before.
        entries: Notes of the questions that were not, for the transaction that declares the block resolved.
    """

    asked: list[list[bool]]
    entries: dict[bytes, bytes]


def decide(snapshot: Snapshot, scope_id: bytes, first: int, questions: Sequence[Sequence[str | None]]) -> Decided:
    """Which questions of a block were asked before: by earlier items of the stream, or in an earlier slot of the block.

    Only those that were not are what later ones are compared with. Where all earlier blocks of the stream are resolved,
    the result follows from these and the block alone: who decides, how often, and what is there of the block itself and
    of later ones change nothing.

    Args:
        snapshot: The store, with the entries of all earlier blocks.
        scope_id: The stream.
        first: Number of the block's first item, in the order of generation.
        questions: Of each item the questions by slot; None where a slot has none that training reads.
    """
    keys = [[[] if each is None else _keys(scope_id, each) for each in slots] for slots in questions]
    flat = [key for slots in keys for each in slots for key in each]
    askers = zip(flat, snapshot.get_many("notes", flat).listed(), strict=True)
    known = {key for key, asker in askers if asker is not None and int.from_bytes(asker, "big") < first}
    entries: dict[bytes, bytes] = {}
    asked: list[list[bool]] = []
    for number, slots in enumerate(keys, first):
        asked.append([])
        for bands_of_it in slots:
            asked[-1].append(any(key in known for key in bands_of_it))
            if not asked[-1][-1]:
                known.update(bands_of_it)
                entries |= dict.fromkeys(bands_of_it, number.to_bytes(8, "big"))
    return Decided(asked, entries)


def bands(question: str) -> list[bytes]:
    """Eight bytes for each band of a question, the same everywhere and in every version."""
    words = _WORD.findall(unicodedata.normalize("NFKC", question).casefold())
    shingles = {" ".join(words[at : at + SHINGLE]) for at in range(max(len(words) - SHINGLE + 1, 1))}
    hashes = np.array([xxhash.xxh3_64_intdigest(each.encode(errors="surrogatepass")) for each in shingles], np.uint64)
    signature = (hashes[:, None] * _FACTORS + _TERMS).min(axis=0).astype("<u8").reshape(BANDS, ROWS)
    return [xxhash.xxh3_64_digest(row.tobytes(), seed=number) for number, row in enumerate(signature)]


def _keys(scope_id: bytes, question: str) -> list[bytes]:
    # Hashed with the scope: a question has eight of these, and each byte of a key takes twelve.
    return [b"asked/" + xxhash.xxh3_64_digest(scope_id + band) for band in bands(question)]
