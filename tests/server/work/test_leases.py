"""Leases where machines share a store: their clocks differ, their names may not, and a request takes long."""

import time
from pathlib import Path

import pytest

from conftest import make_run
from streamdocs import Stitch
from streamdocs.store import LmdbStore
from streamdocs_server.work.lanes.leases import LEASE_SECONDS, Leases, server_name


@pytest.fixture
def leases(small_corpus, store, monkeypatch):
    """Makes the leases of a server, of a store as machines share it; and its clock, in seconds."""
    clock = [0.0]
    monkeypatch.setattr(LmdbStore, "clock", lambda _: clock[0])
    monkeypatch.setattr(LmdbStore, "pace", 1.0)
    monkeypatch.setattr(LmdbStore, "silence", 600.0)
    scope = make_run(small_corpus, Stitch(generations=1)).stream().scope
    return lambda server: Leases(store, scope, server), clock


@pytest.mark.parametrize("skew", [-86_400.0, -700.0, -120.0, 120.0, 86_400.0])
def test_who_is_heard_is_alive_whatever_the_clocks_say(leases, store, monkeypatch, skew):
    make, clock = leases
    right, ours, theirs = time.time, make("here:1"), make("there:1")

    def beat() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: right() + skew)
            store.update_all(theirs.renewal())

    assert theirs.acquire([3])
    for second in range(0, 300, 30):
        clock[0] = float(second)
        beat()
        assert ours.taken() == {3} and not ours.acquire([3])
    clock[0] += LEASE_SECONDS + 1
    assert ours.acquire([3])


def test_who_comes_too_late_for_a_block_is_given_the_next(leases, store):
    """Where a request takes seconds, the first is always somebody else's by then."""
    make, _ = leases
    servers = [make(f"machine{number}:1") for number in range(3)]
    given = [[number for number in range(12) if each.acquire(range(number, number + each.many))] for each in servers]
    assert given[0] == [*range(12)] and not set(given[1]) & set(given[2])
    notes = [each.held | each._next for each in servers]
    assert all(notes) and sum(map(len, notes)) == len(set.union(*notes))
    assert make("another:1").taken() == set.union(*notes)


def test_machines_of_one_name_do_not_take_each_other_for_dead(leases, monkeypatch):
    make, _ = leases
    read = Path.read_text

    def elsewhere(path, *options):
        return "0a1b2c3d-another-boot\n" if path.name == "boot_id" else read(path, *options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", elsewhere)
        there = server_name().rpartition(":")[0] + ":999999999"
    assert make(there).acquire([3]) and not make("here:1").acquire([3])
    here = server_name().rpartition(":")[0] + ":999999999"  # no process of this machine
    assert make(here).acquire([4]) and make("here:1").acquire([4])
