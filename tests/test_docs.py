"""Pages that show what the code does: it does."""

import doctest
import re
import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_picture_is_the_one_of_the_glossary():
    picture = runpy.run_path(str(DOCS / "picture.py"))["draw"]()
    assert f"\n```\n{picture}\n```\n" in (DOCS / "glossary.md").read_text()


def test_the_examples_are_what_python_says():
    path = DOCS / "worked-example.md"
    # Without its fences, which would be taken for output; with as many lines.
    text = re.sub(r"^```.*$", "", path.read_text(), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, path.name, str(path), 0)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(examples, out=said.append)
    assert result.attempted > 100 and not result.failed, "".join(said)


def test_lines_fit_a_screen():
    pages = ("architecture.md", "glossary.md", "worked-example.md")
    long = {f"{page}:{number}": line for page in pages for number, line in lines_of(page) if len(line) > 120}
    assert long == {}


def lines_of(page: str) -> list[tuple[int, str]]:
    """The lines of a page, counted from 1."""
    return list(enumerate((DOCS / page).read_text().splitlines(), 1))
