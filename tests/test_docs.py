"""Pages that show what the code does: it does."""

import doctest
import re
import runpy
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pytest

from published import error_rates
from streamdocs.generations.diversity import (
    COPIED,
    DISTINCT,
    FEWEST,
    LIMITS,
    NEAR,
    NEWEST,
    OPENING,
    OPENING_UNSPACED,
    SEQUENCES,
    Diversity,
)
from streamdocs.measure.intervals import Chance
from streamdocs.measure.scaling import scaling
from streamdocs.presets import MIXES
from streamdocs.recipes.programs.files import load_program
from streamdocs.recipes.programs.styles import AIMS, STYLES
from streamdocs.sections import Section

DOCS = Path(__file__).parents[1] / "docs"


def test_the_picture_is_the_one_of_the_glossary():
    picture = runpy.run_path(str(DOCS / "picture.py"))["draw"]()
    assert f"\n```text\n{picture}\n```\n" in (DOCS / "glossary.md").read_text()


def test_the_reference_of_the_run_file_is_made_from_the_code():
    page = runpy.run_path(str(DOCS / "run_file.py"))["page"]()
    assert page == (DOCS / "run-file.md").read_text(), "python docs/run_file.py > docs/run-file.md"


def test_a_field_without_a_sentence_is_noticed():
    made = runpy.run_path(str(DOCS / "run_file.py"))

    class Silent(Section):
        """A section.

        Args:
            said: Something | of two lines,
                and ``more``.
        """

        said: int = 1
        unsaid: Literal["a"] | None = None

    words = made["sentences"](Silent)
    assert words == {"said": "Something \\| of two lines, and `more`."}
    with pytest.raises(KeyError, match="unsaid"):
        made["table"](made["fields"](Silent), words)
    rows = made["table"](made["fields"](Silent), {**words, "unsaid": ""}).splitlines()[2:]
    assert rows == ["| `said` | integer | `1` | Something \\| of two lines, and `more`. |", "| `unsaid` | `a` |  |  |"]


def test_the_page_of_styles_has_what_each_is_after_and_its_limits():
    rows = [line for line in (DOCS / "styles.md").read_text().splitlines() if line.startswith("| `")]
    assert rows[: len(STYLES)] == [f"| `{name}` | {aim} |" for name, aim in AIMS.items()]
    steps = {
        name: ", ".join(f"{step.name} {step.max_tokens:,}" for step in program.steps)
        for name, program in STYLES.items()
    }
    limits = [f"| `{name}` | {each.chunk:,} | {each.least} | {steps[name]} |" for name, each in STYLES.items()]
    assert [row.rpartition(" |")[0].rpartition(" ")[0] for row in rows[len(STYLES) :]] == limits


def test_the_style_of_the_page_is_one(tmp_path):
    example = re.search(r"```yaml\n(# debate.yaml.*?)```", (DOCS / "styles.md").read_text(), re.DOTALL)
    (tmp_path / "debate.yaml").write_text(example[1])
    (tmp_path / "claims.txt").write_text("{document}")
    (tmp_path / "debate.txt").write_text("{document} {claim}")
    assert load_program(tmp_path / "debate.yaml").fanout == 3


def test_the_page_of_diversity_has_the_measures_and_limits():
    page = (DOCS / "diversity.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", page, re.MULTILINE)
    remedies, limits, measures = rows[-len(LIMITS) :], rows[-2 * len(LIMITS) : -len(LIMITS)], rows[: -2 * len(LIMITS)]
    named = [name for names, _ in measures for name in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(field.name for field in fields(Diversity))
    assert [name for name, _ in limits] == [name for name, _ in remedies] == [f"`{name}`" for name in LIMITS]
    assert [float(re.search(r"([\d.]+) %", said)[1]) / 100 for _, said in limits] == list(LIMITS.values())
    for said in (
        f"newest {NEWEST:,} accepted texts",
        f"newest {SEQUENCES:,} sequences of {DISTINCT} words",
        f"{NEAR * 100:g} % of the sequences of {COPIED} words",
        f"same {OPENING} words ({OPENING_UNSPACED} characters",
        f"fewer than {FEWEST} texts",
    ):
        assert said in page, said


def test_the_page_of_the_measure_has_the_presets_and_what_is_published():
    page = (DOCS / "measure.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| ([\d.]+) \| (arXiv [\d.]+)", page, re.MULTILINE)
    assert rows == [
        (name, mix.regime, *said)
        for name, mix in MIXES.items()
        for said in [(str(mix.values["synthetic_fraction"]), mix.source["synthetic_fraction"][:16])]
    ]
    for name in ("3B", "8B"):
        found = scaling(error_rates(name), chance=Chance(0))
        furthest = max(abs(each.loss - each.measured) for each in found.predicted)
        row = re.search(rf"^\| {name[0]} B \| ([\d.]+) \| .* \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
        law = found.fit.law
        assert row.groups() == (f"{law.exponent:.3f}", f"{law.floor:.2f}", f"{furthest:.3f}")


def test_the_examples_are_what_python_says():
    path = DOCS / "worked-example.md"
    # Without its fences, which would be taken for output; with as many lines.
    text = re.sub(r"^```.*$", "", path.read_text(), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, path.name, str(path), 0)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(examples, out=said.append)
    assert result.attempted > 100 and not result.failed, "".join(said)


def test_lines_fit_a_screen():
    pages = ("architecture.md", "diversity.md", "glossary.md", "programs.md", "styles.md", "worked-example.md")
    long = {f"{page}:{number}": line for page in pages for number, line in lines_of(page) if len(line) > 120}
    assert long == {}


def lines_of(page: str) -> list[tuple[int, str]]:
    """The lines of a page, counted from 1."""
    return list(enumerate((DOCS / page).read_text().splitlines(), 1))
