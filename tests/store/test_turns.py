"""Who takes long to work out a change gets to make it, however fast others are."""

import threading
import time
from contextlib import contextmanager

import pytest

from streamdocs.store.shared import appender as appender_module

pytestmark = pytest.mark.usefixtures("no_pace")


@contextmanager
def busy(opened, names):
    """Nodes that write one entry after another; how many each has written."""
    is_over, written = threading.Event(), dict.fromkeys(names, 0)

    def write(name: str) -> None:
        store = opened(name)
        while not is_over.is_set():
            store.update(name.encode(), lambda old: str(int(old or b"0") + 1).encode())
            written[name] += 1

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)


def slowly(tried: list[float]):
    """A change that takes longer than others need for several entries."""

    def change(old: bytes | None) -> bytes:
        tried.append(time.monotonic())
        time.sleep(0.3)
        return (old or b"") + b"-"

    return change


def test_who_is_slow_gets_his_turn(opened):
    slow = opened("slow")
    with busy(opened, ["one", "two", "three"]) as written:
        for number in range(3):
            tried: list[float] = []
            assert slow.update(b"slow", slowly(tried)) == b"-" * (number + 1)
            assert len(tried) <= 6, written  # others may be late to hear of it
        begun = dict(written)
        deadline = time.monotonic() + 60
        while any(written[name] <= begun[name] for name in written) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert all(written[name] > begun[name] for name in written)
    with opened("afterwards").read() as snapshot:
        assert {name: int(bytes(snapshot.get("notes", name.encode()))) for name in written} == written


def test_who_asks_for_a_turn_and_is_gone_is_not_waited_for_long(opened, monkeypatch):
    gone, other = opened("gone"), opened("other")
    appender = gone.node._appender
    asked = appender._append_or_replay(gone.node.replica.head(), appender._entry({}))
    assert gone.node.replica.turn() == asked.id
    waited = []
    monkeypatch.setattr(appender_module, "_TURN_SECONDS", 0.5)
    began = time.monotonic()
    other.update(b"a", lambda _: b"1")
    waited.append(time.monotonic() - began)
    assert other.node.replica.turn() == b""  # who waited in vain said so to all
    began = time.monotonic()
    gone.update(b"b", lambda _: b"1")
    waited.append(time.monotonic() - began)
    assert waited[0] >= 0.5 > waited[1]


def test_a_turn_is_given_back_where_nothing_is_left_to_do(opened):
    """Somebody else did it between the question and the answer: the others wait for an entry all the same."""
    one, other = opened("one"), opened("other")
    tried = []

    def change(view) -> None:
        tried.append(1)
        if len(tried) <= appender_module._TOO_LATE:
            other.update(b"n", lambda old: (old or b"") + b"1")
            view.put("notes", {b"m": b"1"})

    one.node.commit(change)
    assert len(tried) == appender_module._TOO_LATE + 1 and one.node.replica.turn() == b""
    other.node.catch_up()
    assert other.node.replica.turn() == b"" and one.node.replica.head() == appender_module._TOO_LATE + 2


def test_a_change_that_changes_nothing_waits_for_nobody(opened):
    one, other, tried = opened("one"), opened("other"), []
    one.update(b"n", lambda _: b"1")

    def change(view) -> bool:
        tried.append(view.get("notes", b"n"))
        other.update(b"m", lambda old: (old or b"") + b"1")  # always somebody
        return view.has("notes", b"n")

    assert one.node.commit(change) and len(tried) == 2
