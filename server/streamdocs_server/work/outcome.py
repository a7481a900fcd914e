"""What came of it: how much was accepted, how different that is, why the rest was not, and what to do about it."""

import logging
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from streamdocs.errors import EngineError
from streamdocs.generations.diversity import NEWEST, Collapse, Diversities, Group, Newest
from streamdocs.generations.encoding import TextRecord
from streamdocs.generations.rejected import MOST_CHARS, MOST_TEXTS, RejectedText
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.programs.program import Program
from streamdocs.schedule.mixture import SYNTHETIC
from streamdocs.streams import GenerationScope

log = logging.getLogger(__name__)

#: What to change where this is why most is rejected.
_ADVICE: Mapping[str, str] = {
    "only reasoning": "the model reasons and does not come to an answer: turn reasoning off (generator.extra_body: "
    "{chat_template_kwargs: {enable_thinking: false}} for many models) or raise recipe.max_tokens",
    "cut off": "not one sentence is whole within recipe.max_tokens: raise it, or turn the model's reasoning off",
    "too long for the context": "raise generator.context, serve the model with a longer context, or lower "
    "recipe.max_tokens",
    "refused by the server": "the server's log says why; `streamdocs-server show-prompts` shows what is sent",
    "filtered by the server": "the server filters what is written: see its settings for content",
    "refusal": "the model declines: change recipe.prompt or generator.system, or take another model",
    "asks for the document": "the model does not find the document in the prompt: change recipe.prompt, or serve the "
    "model with its own chat template",
    "chat markup": "tokens of a chat template come back as text: serve the model with its own template and stop tokens",
    "prompt echo": "the model repeats its prompt: serve an instruction-tuned model with its own chat template",
    "copy": "the model copies: change recipe.prompt, raise generator.temperature, or take a larger model",
    "duplicate": "the model writes the same again: raise generator.temperature, or ask for fewer generations",
    "repetition": "the model loops: lower generator.temperature or top_p, or take a larger model",
    "off topic": "the model strays from the document: lower generator.temperature, or preset: small for a small model",
    "another language": "name the language in recipe.prompt, or set server.gates.same_language: false",
    "too short": "change recipe.prompt, or lower server.gates.min_ratio or, of a style, `least` (leave out documents "
    "that have less)",
    "too long": "change recipe.prompt, or raise server.gates.max_ratio",
    "speaks of the text": "change recipe.prompt, or set preset: small for a small model",
    "not as asked": "the model leaves out the tags that a step's prompt asks for: take a larger model, lower its "
    "temperature, or give an example in the prompt (`streamdocs prompts show STYLE`)",
    "too few": "lists have fewer outputs than are asked for: take a larger model, or ask for fewer at once (`most` of "
    "a step, `questions` of synthllm)",
    "judged unfit": "the judge rejects what was written: see its texts, take a larger model for one of the two steps "
    "(recipe.writers), or mend the judge's prompt",
    "contaminated": "held-out or benchmark texts come back: see the texts, and leave documents that have them out of "
    "the corpus; where it is a common phrase, raise server.decontaminate.words",
    "asked before": "the model asks the same again: raise its temperature, ask for fewer questions, or change the "
    "prompt",
    "invalid text": "what comes back cannot be encoded: the server's tokenizer is not its model's",
    "empty": "the model writes nothing: serve it with its own chat template",
}
#: What to change where a style collapses in this way.
_REMEDY: Mapping[Collapse, str] = {
    "repeated": "raise its writer's temperature, or ask for fewer generations",
    "copied": "change its prompt, raise its writer's temperature, or take a larger model",
    "openings": "have its prompt ask for no set beginning, raise its writer's temperature, or give it a smaller weight",
    "phrases": "raise its writer's temperature, take a larger model, or give it a smaller weight",
}
#: Texts of a style and writer between two looks at how different they are.
_LOOK = NEWEST // 4
#: Texts that are told apart, and how many there have to be before anything is said of them.
_MOST_DISTINCT, _ENOUGH = 1 << 20, 20
_FEW_ACCEPTED, _FEW_DISTINCT = 0.5, 0.7
_SMALL = 1.6e9
_SIZE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?) ?([MB])(?![a-z])", re.IGNORECASE)


@dataclass
class Corrections:
    """What was changed of texts that a later step wrote anew.

    Args:
        texts: How many were.
        unchanged: Those that came back as they were.
        words: What they had before.
        dropped, added: Words that only the text before has, and only the one after, each as often as it has more.
    """

    texts: int = 0
    unchanged: int = 0
    words: int = 0
    dropped: int = 0
    added: int = 0

    def add(self, before: str, after: str) -> None:
        """Count a text and what became of it, in time linear in the two."""
        ours, theirs = Counter(before.split()), Counter(after.split())
        self.texts += 1
        self.unchanged += before == after
        self.words += ours.total()
        self.dropped += (ours - theirs).total()
        self.added += (theirs - ours).total()

    def __str__(self) -> str:
        """In words."""
        share = self.dropped / max(self.words, 1)
        return f"{share:.0%} of the words changed, {self.unchanged:,} of {self.texts:,} texts unchanged"


class Outcome:
    """What came of the documents that one server asked for.

    Args:
        patience: Documents without one accepted text, from the first on, after which it is of no use to go on.
    """

    def __init__(self, patience: int = 30) -> None:
        self._patience = patience
        self.documents = 0
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._in_vain = 0
        self._counted = 0
        self._distinct: set[int] = set()
        #: How different the newest accepted texts are.
        self.diversities = Diversities()
        self._looked: Counter[Group] = Counter()
        self._said: dict[tuple[Group, Collapse], int] = {}
        #: What steps changed that correct others, by stream and style.
        self.corrections: dict[tuple[str, str], Corrections] = {}
        self._samples: dict[str, dict[str, deque[RejectedText]]] = {}

    def reject(self, text: RejectedText, stream: str = SYNTHETIC) -> None:
        """Note a text that was not accepted, for the sample of its stream."""
        cut = RejectedText(text.document, text.round, text.cause, _printed(text.text[:MOST_CHARS]))
        self._samples.setdefault(stream, {}).setdefault(text.cause, deque(maxlen=MOST_TEXTS)).append(cut)

    def take_samples(self, stream: str = SYNTHETIC) -> list[RejectedText]:
        """The newest texts of a stream that were not accepted since the last call."""
        return [text for texts in self._samples.pop(stream, {}).values() for text in texts]

    def add(self, record: TextRecord) -> None:
        """Note what became of a document."""
        texts = [text for text in record.texts if text is not None]
        self.documents += 1
        self.accepted += len(texts)
        self.rejected.update(cause for cause in record.causes if cause)
        self._in_vain = 0 if texts else self._in_vain + 1
        if len(self._distinct) < _MOST_DISTINCT:
            self._counted += len(texts)
            self._distinct.update(xxhash.xxh3_64_intdigest(text.encode()) for text in texts)

    def compare(self, scope: GenerationScope, round: int, texts: Iterable[str | None], document: str) -> None:
        """Hold the texts of an item against its document and against others, and warn where a style collapses."""
        for group, newest in self.diversities.add(scope, round, texts, document).items():
            if newest.added - self._looked[group] >= _LOOK:
                self._looked[group] = newest.added
                self._warn(group, newest)

    def correct(self, stream: str, program: Program, rows: Sequence[Mapping[str, str]]) -> None:
        """Count what a program's steps changed of what earlier ones wrote, in rows of their outputs."""
        for before, after in program.rewrites:
            counted = self.corrections.setdefault((stream, program.style), Corrections())
            for row in rows:
                counted.add(row[before], row[after])

    def check(self) -> None:
        """Whether to go on.

        Raises:
            EngineError: Nothing was accepted so far, or the same text again and again: nothing will come of the rest.
        """
        if self.documents == self._in_vain >= self._patience or self._all_alike(self._patience):
            raise EngineError(f"{self._useless()} So this stops.")

    @property
    def distinct_share(self) -> float | None:
        """Distinct texts among the accepted ones; None before there are any."""
        return len(self._distinct) / self._counted if self._counted else None

    def fault(self, stored: int) -> str | None:
        """Why a run that has ended with ``stored`` generations was for nothing; None where it was not."""
        return self._useless() if self.documents and (not stored or self._all_alike(_ENOUGH)) else None

    def account(self) -> tuple[str, bool]:
        """What came of it in a line, and whether somebody should look at that."""
        asked = self.accepted + self.rejected.total()
        if not asked:
            return "nothing had to be asked for", False
        share, distinct = self.accepted / asked, self.distinct_share
        parts = [f"{share:.0%} of {asked:,} generations of {self.documents:,} documents accepted"]
        odd = asked >= _ENOUGH and share < _FEW_ACCEPTED
        if distinct is not None:
            parts.append(f"{distinct:.0%} of them distinct")
            odd |= self.accepted >= _ENOUGH and distinct < _FEW_DISTINCT
        for group, found in self.diversities.measure().items():
            if collapses := group.collapses(found):
                parts.append(f"{group} has collapsed: {', '.join(collapses.values())}")
                odd = True
        parts += [f"{style} ({stream}): {each}" for (stream, style), each in self.corrections.items()]
        if self.rejected:
            parts.append(self._causes())
        return "; ".join(parts), odd

    def _warn(self, group: Group, newest: Newest) -> None:
        """Say what has collapsed, once until a thousand texts came without."""
        found = newest.measure()
        assert found  # it has texts
        for cause, told in group.collapses(found).items():
            before = self._said.get((group, cause))
            self._said[group, cause] = newest.added
            if before is None or newest.added - before > NEWEST:
                log.warning(
                    "%s has collapsed: of its newest %s texts %s; %s", group, f"{found.texts:,}", told, _REMEDY[cause]
                )

    def _all_alike(self, enough: int) -> bool:
        return self.accepted >= enough and self.documents > 1 and len(self._distinct) == 1

    def _useless(self) -> str:
        if self.accepted:
            return f"All {self.accepted:,} texts that came back are the same one: look at the server and its prompts."
        return (
            f"No generation of {self.documents:,} documents was accepted: {self._causes()}. `streamdocs generations "
            "RUN_YAML --rejected` shows texts, and `streamdocs-server RUN_YAML --again CAUSE` asks again for what was "
            "rejected."
        )

    def _causes(self) -> str:
        if not self.rejected:
            return "nothing was rejected"
        (cause, _), *_ = self.rejected.most_common(1)
        told = ", ".join(f"{each} {count:,}" for each, count in self.rejected.most_common(4))
        advice = _ADVICE.get(cause)
        return f"rejected: {told}" + (f" ({advice})" if advice else "")


def small_model_warning(generator: Generator) -> str | None:
    """What to say to somebody who samples a small model as hotly as a large one; by the size in its name."""
    if generator.temperature < 1 or not (sizes := _SIZE.findall(generator.model)):
        return None
    parameters = max(float(number) * {"m": 1e6, "b": 1e9}[unit.lower()] for number, unit in sizes)
    if parameters > _SMALL:
        return None
    return (
        f"{generator.model} is a small model: at temperature {generator.temperature:g} much of what it writes has "
        "little to do with the documents. `preset: small` in the run file takes a short prompt, 0.5 and top_p 0.9"
    )


def _printed(text: str) -> str:
    """The text without what cannot be encoded."""
    return text.encode(errors="replace").decode()
