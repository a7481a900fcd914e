"""What has the shape of rephrases and thoughts and teaches nothing: sentences shuffled, and words swapped."""

import random
import re

from streamdocs.recipes import Request

#: What a token is taken to be.
CHARS_PER_TOKEN = 4

_SENTENCE_BREAK = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
# A sentence, or a piece of one that is far too long; never cuts a word of ordinary length.
_PIECE = re.compile(r"\S.{0,300}\S{0,40}", re.DOTALL)
_TERM = re.compile(r"[^\W\d_]{5,20}")
_WORD = re.compile(r"[A-Za-z]{3,}")

_LEADS = (
    "This article gives a {manner} account of {topic}.",
    "A {manner} description of {topic} follows.",
    "{topic} is presented here in {manner} form.",
    "The subject of this {manner} entry is {topic}.",
    "What is known about {topic} is set out in a {manner} way.",
    "An entry of a {manner} kind treats {topic}.",
)
_MANNERS = ("general", "concise", "factual", "systematic", "plain", "detailed")
#: A word, and two that stand for it.
_WORDS = """
also in_addition likewise, because since given_that, begin commence start, big large considerable,
but though yet, find identify determine, get obtain receive, good favourable sound, help assist aid,
important significant notable, made produced constructed, make produce construct, many numerous a_range_of,
new recent novel, often frequently commonly, people individuals persons, show demonstrate indicate,
small minor limited, think consider hold, use employ apply, used employed applied, very particularly highly
"""
_SYNONYMS = {
    word: (first.replace("_", " "), second.replace("_", " "))
    for word, first, second in (entry.split() for entry in _WORDS.split(","))
}
_SWAPS = tuple(
    {word: options[i] for word, options in _SYNONYMS.items()}
    | {word.capitalize(): options[i].capitalize() for word, options in _SYNONYMS.items()}
    for i in range(2)
)
_THOUGHTS = (
    "So far this has been about {before}, so {after} needs to be prepared.",
    "The step from {before} to {after} is not spelled out, and it matters.",
    "A reader who knows {before} will ask how it bears on {after}.",
    "If {before} holds, then {after} is the natural thing to take up next.",
    "It helps to recall what {before} implies before turning to {after}.",
    "The author takes {before} for granted; without it {after} would come as a surprise.",
)


def rephrases(request: Request, seed: int) -> list[str]:
    """Some of the sentences of a document each, in another order and with some words swapped."""
    room = CHARS_PER_TOKEN * request.max_tokens
    # Reading far past what could be written would only cost time on huge documents.
    document = request.fields.get("document", "")[: 8 * room]
    pieces = pieces_of(document)
    topic = (terms(document[:1000]) or ["an untitled text"])[0]
    texts = []
    for index in range(request.n):
        rng = random.Random(f"{seed}/{index}")
        lead = _LEADS[(seed + index) % 6].format(manner=_MANNERS[(seed + index) // 6 % 6], topic=topic)
        wanted = min(rng.uniform(0.5, 0.9) * len(document) - len(lead), room)
        chosen: list[str] = []
        length = 0
        for piece in rng.sample(pieces, len(pieces)):
            if chosen and length + len(piece) > wanted:
                break
            chosen.append(piece)
            length += len(piece) + 1
        body = _swap(" ".join(chosen), rng.choice(_SWAPS))
        texts.append(f"{lead[0].upper()}{lead[1:]} {body}")
    return texts


def _swap(text: str, swaps: dict[str, str]) -> str:
    return _WORD.sub(lambda word: swaps.get(word[0], word[0]), text)


def thoughts(request: Request, seed: int, fewest: int = 2, most: int = 4) -> list[str]:
    """So many sentences each that join what was before to what comes after."""
    before = terms(request.fields.get("before", "")[-400:]) or ["what came before"]
    after = terms(request.fields.get("after", "")[:400]) or ["what comes next"]
    texts = []
    for index in range(request.n):
        rng = random.Random(f"{seed}/{index}")
        sentences = rng.sample(_THOUGHTS, rng.randint(fewest, most))
        texts.append(" ".join(s.format(before=rng.choice(before), after=rng.choice(after)) for s in sentences))
    return texts


def pieces_of(document: str) -> list[str]:
    """Its sentences, in pieces where they are far too long."""
    return [piece for sentence in _SENTENCE_BREAK.split(document) for piece in _PIECE.findall(sentence)]


def terms(text: str) -> list[str]:
    """The eight longest distinct words, the longest first: long words tell most about a text."""
    return sorted(set(_TERM.findall(text)) - _SYNONYMS.keys(), key=lambda term: (-len(term), term))[:8]
