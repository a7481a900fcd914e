"""Gates on the answer to one step of a program: what it gives has to be there as asked, and each text has to pass."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from streamdocs._base.untrusted import faults
from streamdocs.errors import ConfigError
from streamdocs.recipes import Request
from streamdocs.recipes.programs.parsing import parse
from streamdocs.recipes.programs.program import Step
from streamdocs_server.gates.gates import Accepted, Gates, Rejected

#: What a step gave: the texts of its outputs, of a record all of its fields, of a verdict that and its remark.
Given = tuple[str, ...]


def gates_of(gates: Gates, step: Step) -> Gates:
    """The gates of a step, which may have limits of its own.

    Raises:
        ConfigError: A limit that is not known or out of range.
    """
    try:
        limits: dict[str, Any] = dict(step.gates)
        return replace(gates, **limits) if limits else gates
    except (ValidationError, TypeError) as error:
        said = faults(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"step {step.name}: gates: {said}") from error


def judge_step(
    gates: Gates, text: str, finish_reason: str, request: Request, *, reasoned: bool = False
) -> Given | Rejected:
    """What a step gave, or why that is rejected; the arguments are those of ``Gates.check``.

    Never raises, and takes time linear in the text.
    """
    step = request.step
    assert step is not None
    if step.parser == "text":
        verdict = gates.check(text, finish_reason, request, reasoned=reasoned)
        return (verdict.text,) if isinstance(verdict, Accepted) else verdict
    answer = gates.without_reasoning(text, request)
    if not answer and (text.strip() or reasoned):
        return Rejected("only reasoning")
    parsed = parse(step, answer)
    if parsed.fault:
        return Rejected("not as asked")
    if step.parser in ("verdict", "concepts"):  # words and names, and no text to be read
        return (*([parsed.verdict] if parsed.verdict else []), parsed.outputs[0][step.name])
    checked = [gates.check(each, "stop", request) for row in parsed.outputs for each in row.values()]
    passed = tuple(each.text for each in checked if isinstance(each, Accepted))
    fault = next((each for each in checked if isinstance(each, Rejected)), None)
    if fault and (step.parser == "record" or not passed):
        return fault
    return passed
