"""A few inputs of every target; ``make fuzz`` tries many more."""

import pytest

from fuzz import decoders, documents, files, programs, servers, shared  # noqa: F401  (which add their targets)
from fuzz.target import TARGETS

EXAMPLES = 25


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_from_outside_does_harm(name):
    found = TARGETS[name]
    found.run(EXAMPLES)
    assert found.inputs >= 1
