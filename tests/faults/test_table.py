"""The table of faults with a few tries of each; ``make faults`` does all of them."""

import random

import pytest

from faults.table import all_faults


@pytest.mark.parametrize("fault", [each for each in all_faults() if each.few], ids=lambda fault: fault.name)
def test_nothing_is_lost_and_nothing_is_wrong(fault, tmp_path):
    outcome = fault.function(tmp_path, fault.few, random.Random(1))
    assert (outcome.lost, outcome.wrong) == (0, 0)
    assert outcome.tried == fault.few or "not allowed" in outcome.note
