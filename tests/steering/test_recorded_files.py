"""Files of recorded reports: whatever is damaged or cannot be is told by its line."""

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest

from streamdocs.errors import ConfigError
from streamdocs.schedule.mixture import Mixture, Share
from streamdocs.steering.recorded import Row, load_rows, save_rows
from streamdocs.steering.reports import HeldOut

WINDOW, FINGERPRINT, ARMS = 32, {"window": 32, "name": "x", "controller": "ucb 1"}, ("a", "b", "c")


def mixture_of() -> Mixture:
    shares = [Share(name, True, Fraction(1, 6)) for name in ARMS]
    return Mixture([Share("web", False, Fraction(1, 2)), *shares], 16, WINDOW, 7)


GOOD = {"window": 1, "counts": [5, 5, 6], "lost": [[0, [1.0, 2.0, 3.0], [5, 5, 5], [5, 5, 6]]], "held_out": [[32, 3.0]]}
DAMAGED = {
    "no JSON": b"{",
    "nested": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe",
    "a number": b"7",
    "window": {**GOOD, "window": 2},
    "another field": {**GOOD, "more": 1},
    "more than are due": {**GOOD, "counts": [16, 16, 0]},
    "fewer than are due": {**GOOD, "counts": [0, 0, 0]},
    "counts in quotes": {**GOOD, "counts": ["5", 5, 6]},
    "counts of truth": {**GOOD, "counts": [True, 9, 6]},
    "a window before the first": {**GOOD, "lost": [[-1, *GOOD["lost"][0][1:]]]},
    "a position before the first": {**GOOD, "held_out": [[-1, 3.0]]},
    "losses of none": {**GOOD, "lost": [[0, [1.0, 2.0, 3.0], [5, 5, 0], [5, 5, 6]]]},
    "of fewer than there were": {**GOOD, "lost": [[0, [1, 2, 3], [4, 4, 4], [4, 4, 4]]]},
    "two arms": {**GOOD, "counts": [8, 8]},
    "more than a window": {**GOOD, "counts": [20, 20, 20]},
    "less than none": {**GOOD, "counts": [-1, 9, 8]},
    "NaN": {**GOOD, "held_out": [[32, float("nan")]]},
    "infinite": {**GOOD, "lost": [[0, [float("inf"), 2, 3], [5, 5, 5], [5, 5, 6]]]},
    "huge": {**GOOD, "held_out": [[32, 1e300]]},
    "text": {**GOOD, "held_out": [[32, "low"]]},
    "still to come": {**GOOD, "held_out": [[33, 3.0]]},
    "the same position": {**GOOD, "held_out": [[0, 3.0]]},
    "not over": {**GOOD, "lost": [[1, [1, 2, 3], [5, 5, 5], [5, 5, 6]]]},
    "of two arms": {**GOOD, "lost": [[0, [1, 2], [5, 5], [5, 5]]]},
    "of more than there were": {**GOOD, "lost": [[0, [1, 2, 3], [6, 5, 5], [5, 5, 6]]]},
    "twice": {**GOOD, "lost": GOOD["lost"] * 2},
    "large number": b'{"window": 1, "counts": [' + b"9" * 5000 + b", 1, 1]}",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_line_is_one_line_of_error(tmp_path, what):
    file, line = tmp_path / "reports.jsonl", DAMAGED[what]
    save_rows(file, FINGERPRINT, ARMS, [Row(window=0, counts=(5, 5, 6), held_out=(HeldOut(0, 4.0),))])
    with file.open("ab") as end:
        end.write(line if isinstance(line, bytes) else json.dumps(line).encode())
    with pytest.raises(ConfigError, match=r"line 3: .*: write it again, by `streamdocs simulate") as raised:
        load_rows(file, FINGERPRINT, ARMS, mixture_of())
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize("what", ["twice", "the same position"])
def test_what_is_told_again_is_blamed_on_its_own_line(tmp_path, what):
    file = tmp_path / "reports.jsonl"
    last = Row(window=2, counts=(5, 6, 5))
    save_rows(file, FINGERPRINT, ARMS, [Row(window=0, counts=(5, 5, 6), held_out=(HeldOut(0, 4.0),)), last])
    header, first, last = file.read_text().splitlines()
    file.write_text("\n".join([header, first, json.dumps(DAMAGED[what]), last]))
    with pytest.raises(
        ConfigError, match=r"line 3: (what was lost in window 0 is told twice|an evaluation at position 0)"
    ):
        load_rows(file, FINGERPRINT, ARMS, mixture_of())


@pytest.mark.timeout(20)
def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"cannot be read \(it is no plain file\)"):
            load_rows(path, FINGERPRINT, ARMS, mixture_of())


def test_a_file_that_is_too_large_is_refused(tmp_path):
    with (tmp_path / "reports.jsonl").open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(ConfigError, match="larger than 67,108,864 bytes"):
        load_rows(tmp_path / "reports.jsonl", FINGERPRINT, ARMS, mixture_of())


def test_the_undamaged_line_is_none(tmp_path):
    file = tmp_path / "reports.jsonl"
    save_rows(file, FINGERPRINT, ARMS, [Row(window=0, counts=(5, 5, 6), held_out=(HeldOut(0, 4.0),))])
    with file.open("a") as end:
        end.write(json.dumps(GOOD))
    assert load_rows(file, FINGERPRINT, ARMS, mixture_of())[1].held_out == (HeldOut(32, 3.0),)


@pytest.mark.parametrize(
    ("fingerprint", "arms", "said"),
    [
        ({**FINGERPRINT, "name": "y"}, ARMS, "reports of another run, which differs in name"),
        ({**FINGERPRINT, "seed": 1}, ARMS, "differs in seed"),
        (FINGERPRINT, ("a", "c", "b"), "its arms are not a, b, c"),
    ],
)
def test_a_file_of_another_run_is_refused(tmp_path, fingerprint, arms, said):
    save_rows(tmp_path / "reports.jsonl", fingerprint, arms, [])
    with pytest.raises(ConfigError, match=said):
        load_rows(tmp_path / "reports.jsonl", FINGERPRINT, ARMS, mixture_of())


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"{}\n",
        b"sdl1\x00\x01",
        b'{"streamdocs_reports": 2, "arms": [], "run": {}}',
        b'{"streamdocs_reports": true, "arms": ["a", "b", "c"], "run": {"window": 32, "name": "x"}}',
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, contents):
    (tmp_path / "reports.jsonl").write_bytes(contents)
    with pytest.raises(ConfigError, match=r"reports\.jsonl, line 1: "):
        load_rows(tmp_path / "reports.jsonl", FINGERPRINT, ARMS, mixture_of())


def test_a_file_that_is_not_there_or_cannot_be_written(tmp_path):
    for path, why in ((tmp_path / "reports.jsonl", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(
            ConfigError, match=rf"{path} cannot be read \({why}\): name a file that `streamdocs simulate"
        ):
            load_rows(path, FINGERPRINT, ARMS, mixture_of())
    with pytest.raises(ConfigError, match="cannot be written"):
        save_rows(tmp_path / "none" / "reports.jsonl", FINGERPRINT, ARMS, [])
