"""Concepts, questions and answers by rule: of the terms of a document, and in a few fixed forms."""

import random
import re
from collections import Counter
from itertools import product

from streamdocs.recipes.programs.concepts import LEVEL, SUBJECT, TOPIC
from streamdocs_server.engines.template.plain import pieces_of, terms

_QUESTIONS = (
    "What is {term}, and how does it bear on {other}?",
    "Why does {term} matter where {other} is concerned?",
    "How are {term} and {other} connected?",
    "What would be different about {other} without {term}?",
    "Which facts about {term} should be known before {other} is looked at?",
    "In which way does {term} depend on {other}?",
    "Who would have to know about {term}, and what has {other} to do with it?",
    "Where do {term} and {other} come together?",
)
#: Of which there are more where a question is all that is asked: forms that come too often are noticed.
_PROBLEMS = (
    *_QUESTIONS,
    "Suppose that {other} had to do without {term}: what would take its place?",
    "Compare {term} with {other}: where do they agree, and where do they not?",
    "Is there a case in which {term} is of no use for {other}, and what makes it one?",
    "Explain to somebody who has only met {other} what {term} is good for.",
    "Of {term} and {other}, which has to be settled first, and for what reason?",
    "Give an example in which {term} changes and {other} stays as it is.",
    "Somebody says that {other} follows from {term}. Under which conditions is that so?",
    "Taking {term} for granted, work out what can be said about {other}.",
    "A plan for {other} leaves out {term}. Find what goes wrong, step by step.",
    "Can {other} be measured by {term} alone, or what else has to be known?",
    "List what {term} needs in order to be of any help with {other}, and say which of it comes first.",
    "Decide between two ways to reach {other}: with much {term}, or with little.",
)
_REASONS = (
    "To begin with, {term} has to be told apart from {other}.",
    "Wherever {other} is at hand, something of {term} is as well.",
    "It takes both: with {term} alone nothing is settled about {other}.",
    "Seen from {other}, little changes unless {term} does.",
    "Suppose it were not so: then {term} would leave {other} as it is.",
    "One step further, {other} limits what {term} can do.",
    "Nothing that is known of {term} speaks against {other}.",
    "For {other} the order matters: {term} before all else.",
    "Most of what is said about {term} holds for {other} too, but not all.",
    "Take a small case, where {other} is simple, and only {term} is left to look at.",
    "Both ends have to meet, and {term} is nearer to one of them than {other}.",
    "Counting what {other} has, {term} is never more than a part.",
    "Here {term} stands in for {other}, as far as that is possible.",
    "If {other} grows, {term} has to keep up or give way.",
)
_RESULTS = (
    "So it comes down to {term}.",
    "In short, {term} decides it.",
    "The result rests on {term}.",
    "Hence {term}, and nothing else, is what was looked for.",
    "With that, only {term} is left.",
    "Therefore the answer is {term}.",
)

#: Of concepts: most topics, most key concepts of each, words that are neither, and characters of a long document.
_TOPICS, _CONCEPTS = 3, 8
_WORD = re.compile(r"[^\W\d_]{5,20}")
_COMMON = """
about after again against because before being between could during every first found further having itself later might
never other others rather shall should since still their theirs there these thing things those though through together
under until where whether which while within without would
"""
_COMMON_WORDS = frozenset(_COMMON.split())
_LONG = 2000
#: Characters of a document or question that are looked at.
_MOST = 12_000


def questions(about: list[str], rng: random.Random, count: int) -> list[str]:
    """Up to ``count`` different ones, each on two of some terms."""
    about = about or ["this"]
    pairs = [(term, other) for term in about for other in about if term != other] or [(about[0], about[0])]
    first = rng.randrange(len(_QUESTIONS))
    chosen = rng.sample(pairs, min(count, len(pairs)))
    asked = [_QUESTIONS[(first + number) % len(_QUESTIONS)] for number in range(len(chosen))]
    return [each.format(term=term, other=other) for each, (term, other) in zip(asked, chosen, strict=True)]


def combining(about: list[str], rng: random.Random, count: int) -> list[str]:
    """Up to ``count`` different ones, each on all of two or three of some terms."""
    some = rng.sample(about, min(len(about), 3)) or ["this"]
    pairs = [(term, " and ".join(each for each in some if each != term) or term) for term in some]
    every = list(product(_PROBLEMS, pairs))
    chosen = rng.sample(every, min(count, len(every)))
    return [each.format(term=term, other=other) for each, (term, other) in chosen]


def concepts(document: str) -> str:
    """The most frequent terms are topics, names before others; their key concepts stand in a sentence with them."""
    found = [_WORD.findall(piece) for piece in pieces_of(document[:_MOST])]
    sentences = [[word for word in words if word.lower() not in _COMMON_WORDS] for words in found]
    counts = Counter[str]()
    for words in sentences:
        counts.update(words)
        counts.update(word for word in words[1:] if word[0].isupper())
    made = [f"<{LEVEL}>{'general' if len(document) < _LONG else 'detailed'}</{LEVEL}>"]
    topics = _first(counts, _TOPICS) or ["nothing"]
    made.append(f"<{SUBJECT}>{topics[0]}</{SUBJECT}>")
    for topic in topics:
        beside = Counter(word for words in sentences if topic in words for word in words if word != topic)
        concepts = _first(beside, _CONCEPTS) or [topic]
        made.append("\n- ".join([f"<{TOPIC}>\n{topic}", *concepts]) + f"\n</{TOPIC}>")
    return "\n".join(made)


def reply(question: str, rng: random.Random) -> str:
    """Some steps that lead from the terms of a question to a result."""
    about = rng.sample(found := terms(question[:_MOST]) or ["this"], min(len(found), 4))
    pairs = [(term, other) for term in about for other in about if term != other] or [(about[0], about[0])]
    steps = rng.sample(_REASONS, rng.randint(2, 4))
    said = [each.format(term=term, other=other) for each in steps for term, other in [rng.choice(pairs)]]
    return " ".join([*said, rng.choice(_RESULTS).format(term=rng.choice(about))])


def _first(counts: Counter[str], most: int) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]
