"""Programs: answers of every kind to their steps, documents in chunks, and files that say what a program is."""

import asyncio
import functools
import tempfile
from types import SimpleNamespace

import yaml
from hypothesis import strategies as st

from fuzz.strategies import changed, damaged, json_values, wild_texts
from fuzz.target import folder_of, little_memory, target
from streamdocs.errors import ConfigError
from streamdocs.generations.encoding import TextRecord
from streamdocs.generations.steps.rows import rows_of
from streamdocs.recipes import Recipe, Request, Stitch, SynthLLM
from streamdocs.recipes.keys import Generator, Writers
from streamdocs.recipes.programs.chunks import chunks, tail
from streamdocs.recipes.programs.concepts import LEVEL, SUBJECT, TOPIC, Concepts
from streamdocs.recipes.programs.files import load_program
from streamdocs.recipes.programs.parsing import REMARK, VERDICT, parse
from streamdocs.recipes.programs.program import Program, Step
from streamdocs.recipes.programs.styles import STYLES
from streamdocs.store import LmdbStore
from streamdocs_server.engines import Answer, Completion
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Cause, Gates, Rejected
from streamdocs_server.gates.steps import gates_of, judge_step
from streamdocs_server.work.commit import Committer
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.programs import Programs
from streamdocs_server.work.statistics import Statistics

QUESTIONS = {f"synthllm {level}": SynthLLM(generations=2, level=level) for level in (1, 2)}
WRITTEN = {
    name: Stitch(generations=2, styles={name: 1}) for name in STYLES if not name.startswith("template-")
} | QUESTIONS
PACKAGED = [step for program in STYLES.values() for step in program.steps]
PACKAGED += [step for recipe in QUESTIONS.values() for step in recipe.program.steps]
CONCEPTS = QUESTIONS["synthllm 2"].program.steps[0]
STEPS = [
    *PACKAGED,
    Step(name="made", prompt="{document}", parser="list", tags=("question",), most=2),
    Step(name="made", prompt="{document}", parser="record", tags=("title", "verdict", "question")),
]
MARKS = [
    *(
        f"{opening}{tag}{closing}"
        for tag in ("question", "title", VERDICT, REMARK, LEVEL, SUBJECT, TOPIC)
        for opening in ("<", "</", "< ", "<\n/")
        for closing in (">", " 1>", "/>", ' id="1">', "")
    ),
    *(
        "\n- a",
        "\n2. b.",
        "\n",
        "accept",
        "REJECTED",
        "revise",
        "```xml\n",
        "<",
        ">",
        "<!--",
        "]]>",
        "<think>",
        "</think>",
        "İ<QUESTİON>",
    ),
]
answers = st.lists(st.one_of(st.sampled_from(MARKS), wild_texts), max_size=20).map("".join)
long_answers = st.tuples(answers, st.integers(1, 2000)).map(lambda pair: pair[0] * pair[1])


@target(st.tuples(st.sampled_from(STEPS), st.one_of(answers, long_answers)))
def answer(value) -> None:
    """Outputs are parts of the answer, by the step's names and without its tags; or there are none, and a fault."""
    step, text = value
    parsed = parse(step, text)
    assert bool(parsed.outputs) == (parsed.fault == "") and len(parsed.outputs) <= step.most
    assert (parsed.verdict is not None) == (step.parser == "verdict" and not parsed.fault)
    for output in parsed.outputs:
        assert tuple(output) == step.outputs
        if step.parser == "concepts":
            continue
        for each in output.values():
            assert each in text and each == each.strip() and (each or step.parser == "verdict")
            again = parse(step, f"{each} </{step.tags[0]}>") if step.tags else None
            assert again is None or again.fault == "not as asked"


@target(st.tuples(st.one_of(answers, long_answers, wild_texts), st.binary(max_size=24), st.integers(0, 2**40)))
def concepts(value) -> None:
    """Names that can be stored and read back, and a choice of them without any twice; or a fault."""
    text, seed, number = value
    for said in (text, f"<{TOPIC}>{text}</{TOPIC}>", f"<{LEVEL}>{text}<{TOPIC}>t\n{text}</{TOPIC}>"):
        parsed = parse(CONCEPTS, said)
        if parsed.fault:
            continue
        plain = parsed.outputs[0]["concepts"]
        found = Concepts.read(plain)
        assert found is not None and str(found) == plain and plain.encode()
        named = [found.level, found.subject, *(name for topic, names in found.topics for name in (topic, *names))]
        assert all(len(name) <= 80 and "\n" not in name for name in named) and all(named[2:])
        assert len(found.topics) <= 5 and all(1 <= len(names) <= 20 for _, names in found.topics)
        chosen = found.choice(number, seed)
        assert chosen and {*chosen} <= {*found.names} and len({*chosen}) == len(chosen) <= 3
    again = Concepts.read(text)
    assert again is None or str(again) == text


@target(st.tuples(st.sampled_from(STEPS), answers, wild_texts, st.booleans()), share=0.5)
def judged(value) -> None:
    """What passes the gates of a step are texts that can be stored and filled into the next prompt."""
    step, text, document, reasoned = value
    fields = dict.fromkeys(step.inputs, document)
    request = Request(kind=step.kind, template=step.prompt, fields=fields, n=1, max_tokens=step.max_tokens, step=step)
    given = judge_step(gates_of(Gates(), step), text, "length", request, reasoned=reasoned)
    if isinstance(given, Rejected):
        assert given.cause in Cause.__args__
        return
    assert "".join(given).encode() and all(each.strip() for each in given[: step.parser != "verdict"])
    assert all(tuple(row) == step.outputs for row in rows_of(step, given))


@target(st.tuples(st.sampled_from(STEPS), wild_texts, st.integers(0, 2**32 - 1)), share=0.5)
def written_by_rule(value) -> None:
    step, document, seed = value
    fields = dict.fromkeys(step.inputs, document)
    request = Request(kind=step.kind, template=step.prompt, fields=fields, n=2, max_tokens=step.max_tokens, step=step)
    completions = asyncio.run(TemplateEngine().generate(request, seed)).completions
    assert len(completions) == 2 and all(each.text and each.text == each.text.strip() for each in completions)


documents = st.one_of(wild_texts, st.lists(wild_texts, max_size=20).map("\n\n".join))


@target(st.tuples(documents, st.integers(1, 300), st.integers(1, 300)))
def document_in_chunks(value) -> None:
    """Chunks put together are the document, to the character, and none is far smaller than may be."""
    document, cap, times = value
    text = document * times
    found = chunks(text, cap)
    assert "".join(found) == text and max(map(len, found)) <= cap
    assert len(found) == 1 or min(map(len, found)) >= max(cap // 4, 1)


@target(st.tuples(documents, st.integers(1, 600)))
def tail_of_a_text(value) -> None:
    text, length = value
    found = tail(text, length)
    assert text.strip().endswith(found) and len(found) <= length and found == found.strip()
    assert (found == text.strip()) or len(text.strip()) > length


PROGRAM = {
    "name": "mine",
    "template": "{question} {answer}",
    "join": "\n",
    "chunk": 4000,
    "least": 10,
    "steps": [
        {"name": "question", "prompt": "question", "parser": "list", "tags": ["question"], "most": 4, "kind": "free"},
        {
            "name": "answer",
            "prompt": "answer",
            "n": 2,
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "writer": "w",
        },
        {"name": "fit", "prompt": "facts", "parser": "verdict", "back": "answer", "gates": {"max_copied": 1.0}},
    ],
}
HARM = st.sampled_from(["{document}", "fit", "{0}", "\x00", "$HOME", "~nobody/x", "x" * 5000, "..", 1e300, 10**30, {}])
files = st.one_of(
    changed(PROGRAM, st.one_of(json_values, HARM)).map(lambda value: yaml.safe_dump(value).encode()),
    damaged(yaml.safe_dump(PROGRAM).encode()),
    st.sampled_from([b"steps: &a [*a]", b"steps: [{name: x, prompt: /dev/null}]", b"[" * 5000, b"\xff"]),
)


@target(files)
def program_file(data) -> None:
    """A program, or one line that names the file."""
    path = folder_of("programs") / "mine.yaml"
    path.write_bytes(data)
    try:
        with little_memory():
            program = load_program(path)
    except ConfigError as error:
        assert str(error).startswith(f"program {path}") and "\n" not in str(error)
        return
    assert isinstance(program, Program) and program.digest and program.fanout <= 256


class Answering:
    """An engine whose answers are given, again and again."""

    def __init__(self, texts: list[str], finish: str) -> None:
        self.texts, self.finish, self.asked = texts, finish, 0

    async def fit(self, request):
        return request

    async def generate(self, request, seed) -> Answer:
        self.asked += request.n
        texts = [self.texts[(seed + number) % len(self.texts)] for number in range(request.n)]
        return Answer(tuple(Completion(text, self.finish, 1) for text in texts), 1)

    async def close(self) -> None: ...


@functools.cache
def a_store() -> LmdbStore:
    return LmdbStore(tempfile.mkdtemp())


def perform(recipe: Recipe, document: str, engine: Answering) -> TextRecord:
    writers = Writers.of(Generator(model="answering", system=repr(engine.texts)[:1000]))
    scope = SimpleNamespace(
        recipe=recipe, writers=writers, stream="fuzzed", tasks=lambda _, round: recipe.tasks_of_round(round)
    )
    desk, statistics = Desk.of(engine), Statistics()
    ask = functools.partial(desk.ask, attempts=2, statistics=statistics)
    work = Programs(scope, Committer(a_store()), desk, ask, Gates(), statistics, frozenset())
    return asyncio.run(work.write(0, 0, [{"document": document}] * 2, frozenset())).texts


@target(
    st.tuples(
        st.sampled_from(sorted(WRITTEN)),
        documents,
        st.lists(st.one_of(answers, wild_texts), min_size=1, max_size=6),
        st.sampled_from(["stop", "length"]),
    ),
    share=0.1,
)
def program(value) -> None:
    """Whatever is answered, every slot has a text that can be stored or a cause, and nothing is asked for twice."""
    name, document, texts, finish = value
    document = document.encode(errors="replace").decode()  # as those of a corpus are
    found = perform(WRITTEN[name], document, Answering(texts, finish))
    assert len(found.texts) == len(found.causes) == len(found.steps) == 2
    for text, cause in zip(found.texts, found.causes, strict=True):
        assert (text is None) != (cause is None)
        assert text is None or text.encode()
    again = Answering(texts, finish)
    second = perform(WRITTEN[name], document, again)
    assert not again.asked and second.texts == found.texts and second.causes == found.causes
    with a_store().read() as snapshot:
        assert all(snapshot.get("texts", step) for steps in found.steps for step in steps)
