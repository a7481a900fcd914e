"""English text that comes with every Python: the language reference's topics, and documentation strings."""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

_LEAST_CHARACTERS = 400
_MOST_DOCUMENTS = 700


def reference_texts() -> list[str]:
    """Some hundred documents, the same ones for the same Python."""
    texts = [*topics.topics.values(), *_documentation_strings()]
    long_enough = (text.strip() for text in texts if len(text.strip()) >= _LEAST_CHARACTERS)
    return list(dict.fromkeys(long_enough))[:_MOST_DOCUMENTS]


def _documentation_strings() -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted([*library.glob("*.py"), *library.glob("[a-z]*/[a-z]*.py")]):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # broken on purpose, for the library's own tests
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""
