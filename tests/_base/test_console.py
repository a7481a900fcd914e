"""What people type."""

import pytest

from streamdocs._base.console import positions_of
from streamdocs.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "said"),
    [("3:9", (3, 9)), (":9", (0, 9)), ("3:", (3, None)), (":", (0, None)), ("7", (7, 8)), ("0", (0, 1))],
)
def test_positions(typed, said):
    assert positions_of(typed) == said


@pytest.mark.parametrize("typed", ["", "all", "1:2:3", "1-2", "1.5", "::"])
def test_positions_that_are_none(typed):
    with pytest.raises(ConfigError, match="like 0:4096"):
        positions_of(typed)
