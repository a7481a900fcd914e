"""Pages that show what the code does: it does."""

import doctest
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_the_picture_is_the_one_of_the_glossary():
    picture = runpy.run_path(str(DOCS / "picture.py"))["draw"]()
    assert f"\n```\n{picture}\n```\n" in (DOCS / "glossary.md").read_text()


@pytest.mark.parametrize("page", ["worked-example.md"])
def test_examples_of_a_page(page):
    found = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert found.attempted > 0 and not found.failed


def test_lines_fit_a_screen():
    pages = ("architecture.md", "glossary.md", "worked-example.md")
    long = {f"{page}:{number}": line for page in pages for number, line in lines_of(page) if len(line) > 120}
    assert long == {}


def lines_of(page: str) -> list[tuple[int, str]]:
    """The lines of a page, counted from 1."""
    return list(enumerate((DOCS / page).read_text().splitlines(), 1))
