"""Replay: how a stored generation came to be, step by step, by the answers in the store alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from streamdocs.generations.encoding import TextRecord, decode_text
from streamdocs.generations.steps.asking import requests, sources_of
from streamdocs.generations.steps.rows import REVISE, Row, after_answer, parts_of, step_request, with_choice
from streamdocs.recipes.keys import Key, step_key
from streamdocs.recipes.programs.chunks import tail
from streamdocs.recipes.programs.program import PREVIOUS
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER, Task
from streamdocs.store import Snapshot
from streamdocs.streams import GenerationScope

#: An item may ask as often as documents have chunks; nobody reads more.
MOST_ASKED = 64
#: How often an item may have been asked for before, and be found.
_MOST_AGAIN = 8


class Asked(NamedTuple):
    """One question to a writer, and what it answered.

    step: Its name; of a recipe without programs, that of the recipe. writer: Name of the model.
    system, prompt: What was sent. key: Of the record with the answer, in hexadecimal digits.
    answers: Texts that were accepted of it. causes: Why others were rejected. attempts: How often it was asked.
    """

    step: str
    writer: str
    system: str
    prompt: str
    key: str
    answers: Sequence[str]
    causes: Sequence[str]
    attempts: int


class Story(NamedTuple):
    """How a generation came to be.

    asked: In the order of asking; up to ``MOST_ASKED``. whole: Whether that is all: where the store lacks an answer,
    there is nothing to go on with.
    """

    asked: Sequence[Asked]
    whole: bool


def story_of(snapshot: Snapshot, scope: GenerationScope, document: int, round: int, number: int) -> Story:
    """How a generation of an item came to be.

    Args:
        snapshot, scope: Where, and of what.
        document, round: The item.
        number: Which of its generations.

    Raises:
        StreamdocsError: The document cannot be read.
    """
    if scope.recipe.is_plain:
        return Story([_plain(snapshot, scope, document, round, number)], True)
    task = scope.tasks(document, round)[number]
    source = sources_of(scope, document, round)[number]
    key = scope.key(document, round)
    record = decode_text(key, snapshot.get("texts", key.digest))
    steps = {digest.hex() for digest in record.steps[number]} if record and record.steps else set[str]()
    # One that was rejected and asked for again begins elsewhere, by a count that nobody kept.
    stories = [_story(snapshot, scope, task, number, source, ("again",) * times) for times in range(_MOST_AGAIN)]
    return next(
        (each for each in stories if steps <= {asked.key for asked in each.asked}), stories[0]._replace(whole=False)
    )


def _story(
    snapshot: Snapshot,
    scope: GenerationScope,
    task: Task,
    number: int,
    source: Mapping[str, str],
    sent: tuple[str, ...],
) -> Story:
    """What the program of a slot asked for, chunk by chunk, as far as the store has it."""
    asked: list[Asked] = []
    texts: list[str] = []
    for part in parts_of(task.team.program, source):
        row = Row(number, {**part, PREVIOUS: tail(task.team.program.join.join(texts))}, task.ordinal, sent=sent)
        rows = _steps(snapshot, scope, task, [row], asked)
        done = [each.values for each in rows or () if not each.cause]
        if not done:
            return Story(asked, rows is not None)
        texts.append(task.team.program.text(done))
    return Story(asked, True)


def _plain(snapshot: Snapshot, scope: GenerationScope, document: int, round: int, number: int) -> Asked:
    """The one question behind a generation of a recipe without programs."""
    first = 0
    for request, _ in requests(scope, document, round):
        if number < first + request.n:
            break
        first += request.n
    key = scope.key(document, round)
    record = decode_text(key, snapshot.get("texts", key.digest))
    here = (
        TextRecord([], [])
        if record is None
        else replace(record, texts=[record.texts[number]], causes=[record.causes[number]])
    )
    return _asked(scope, scope.recipe.name, DEFAULT_WRITER, request.prompt, key, here)


def _steps(
    snapshot: Snapshot,
    scope: GenerationScope,
    task: Task,
    rows: list[Row],
    asked: list[Asked],
    start: int = 0,
    stop: int | None = None,
) -> list[Row] | None:
    """Rows after the steps from ``start`` to before ``stop``; None where the store lacks an answer to go on with."""
    program, writers = task.team
    names = [step.name for step in program.steps]
    for place, step in [*enumerate(program.steps)][start:stop]:
        after: list[Row] = []
        for row in rows:
            if row.cause:
                after.append(row)
                continue
            fields = {name: row.values.get(name, "") for name in step.inputs}
            for ordinal in range(row.ordinal * step.n, (row.ordinal + 1) * step.n):
                sent = 0 if step.once else len(row.sent)
                key = step_key(step, fields, scope.writers[writers[place]], step.answer(ordinal), sent)
                record = decode_text(key, snapshot.get("texts", key.digest))
                prompt = step_request(step, fields, 1).prompt
                asked.append(_asked(scope, step.name, writers[place], prompt, key, record or TextRecord([], [])))
                if record is None or len(asked) >= MOST_ASKED:
                    return None
                after += after_answer(row, step, record, ordinal)
        if step.name == program.choose:
            after = [row if row.cause else with_choice(program, step, row) for row in after]
        if step.back is not None:
            rows = []
            for row in after:
                if row.cause != REVISE:
                    rows.append(row)
                    continue
                again = replace(row, cause="", sent=(*row.sent, step.name))
                done = _steps(snapshot, scope, task, [again], asked, names.index(step.back), place + 1)
                if done is None:
                    return None
                rows += done
        else:
            rows = after
    return rows


def _asked(scope: GenerationScope, step: str, writer: str, prompt: str, key: Key, record: TextRecord) -> Asked:
    who = scope.writers[writer]
    answers = [text for text in record.texts if text is not None]
    causes = [cause for cause in record.causes if cause]
    return Asked(step, who.model, who.system or "", prompt, key.digest.hex(), answers, causes, record.attempts)
