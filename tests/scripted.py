"""A writer whose answers anybody can work out, and programs for it."""

import asyncio
import hashlib
from collections import Counter

from streamdocs import Program, Step
from streamdocs.errors import EngineError
from streamdocs_server.engines import Answer, Completion


class Scripted:
    """Writes what depends on step, fields and seed alone, and counts what it was asked."""

    def __init__(self, verdicts=("accept",), stop_after: int | None = None) -> None:
        self.asked: Counter = Counter()
        self.answered: Counter = Counter()
        self.verdicts, self.stop_after = verdicts, stop_after

    async def model(self) -> tuple[str, str]:
        return "template", "1"

    async def fit(self, request):
        return request

    async def generate(self, request, seed) -> Answer:
        if self.stop_after is not None and sum(self.answered.values()) >= self.stop_after:
            raise EngineError("out of power")
        what = (request.step.name, tuple(sorted(request.fields.items())))
        self.asked[what] += request.n
        await asyncio.sleep(0)
        self.answered[what] += 1
        texts = [self.say(request, f"{seed + number}") for number in range(request.n)]
        return Answer(tuple(Completion(text, "stop", 4) for text in texts), 1)

    def say(self, request, told: str) -> str:
        step, digest = request.step, hashlib.sha256(repr([request.fields, told]).encode()).hexdigest()[:8]
        if step.parser == "list":
            return "\n".join(f"<{step.tags[0]}>{step.name} {digest} {n}</{step.tags[0]}>" for n in range(3))
        if step.parser == "record":
            return "".join(f"<{tag}>{tag} {digest}</{tag}>" for tag in step.tags)
        if step.parser == "concepts":
            topics = (f"<topic>{digest[at]}\n- {digest[: at + 2]}\n- {digest[at]}</topic>" for at in range(4))
            return "\n".join(topics)
        if step.parser == "verdict":
            verdict = self.verdicts[int(digest, 16) % len(self.verdicts)]
            return f"<verdict>{verdict}</verdict><remark>because {digest}</remark>"
        return f"{step.name} {digest}"

    async def close(self) -> None: ...


def step(name, prompt, **more) -> Step:
    return Step(name=name, prompt=prompt, kind=more.pop("kind", "free"), **more)


TALK = Program(
    name="talk",
    steps=(
        step("question", "Ask about: {document}", parser="list", most=2, n=2),
        step("answer", "{question} of {document}"),
        step("pair", "{question} {answer}", parser="record", tags=("short", "long")),
    ),
    template="Q: {question}\nA: {answer}\n{short}/{long}",
)
CHUNKED = Program(name="chunked", steps=(step("text", "{previous}|{document}"),), chunk=200, join=" + ")
JUDGED = Program(
    name="judged",
    steps=(
        step("plan", "Plan {document}"),
        step("text", "Write {plan} {verdict}"),
        step("verdict", "Judge {text}", parser="verdict", back="text"),
    ),
    template="{text}",
)
