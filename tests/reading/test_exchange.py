"""Memory that a worker shares with its trainer is written again only when nobody needs what is in it."""

import gc
import os
import pickle
from functools import partial
from unittest import mock

import numpy as np
import pytest
from torch.utils.data import DataLoader, default_collate

from conftest import make_dataset
from streamdocs.errors import WorkerGoneError
from streamdocs.reading import batch, exchange
from streamdocs.reading import reader as reading
from streamdocs.reading.batch import Sample
from streamdocs.reading.exchange import Address, Lease, Ring, Sequences, SequencesShape, attach

LENGTH = 6


def make_ring(rows: int = 4) -> Ring:
    return Ring(SequencesShape(rows, LENGTH, token_type="uint16", documents=True))


def read_into(lease: Lease, first: int) -> Sequences:
    """Sequences of the tokens from ``first`` on."""
    sequences = lease.sequences
    sequences.tokens[lease.rows] = np.arange(first, first + len(lease.rows) * LENGTH).reshape(-1, LENGTH)
    sequences.document[lease.rows] = 1
    sequences.synthetic[lease.rows] = True
    return sequences


def send(sequences: Sequences, first: int) -> bytes:
    """A batch of two of the sequences, as a worker sends it."""
    samples = [Sample(sequences, row) for row in sequences.rows.tolist()[first : first + 2]]
    with mock.patch.object(batch, "get_worker_info"):
        return pickle.dumps(default_collate(samples))


def take(message: bytes) -> list[int]:
    """The first tokens of a batch."""
    batch = pickle.loads(message)
    assert batch["input_ids"].tolist() == batch["labels"].tolist()
    assert (batch["sequence_id"] == 1).all() and batch["synthetic"].all()
    return batch["input_ids"][:, 0].tolist()


def test_only_numbers_are_sent():
    sequences = read_into(make_ring().lease(4), 0)
    message = send(sequences, 2)
    assert len(message) < 300
    assert take(message) == [12, 18]


def test_rows_are_written_again_when_their_batches_were_taken_and_their_samples_are_gone():
    ring = make_ring()
    sequences = read_into(ring.lease(4), 0)
    sent = [send(sequences, 0), send(sequences, 2)]
    assert ring.lease(4) is None
    del sequences
    assert ring.lease(4) is None
    assert take(sent[0]) == [0, 6]
    again = read_into(ring.lease(4), 100)
    assert again.rows.tolist() == [0, 1]  # the others are still to be taken
    assert ring.lease(4) is None
    last = send(again, 0)
    del again
    assert take(sent[1]) == [12, 18]
    assert read_into(ring.lease(4), 200).rows.tolist() == [2, 3]
    assert take(last) == [100, 106]


def test_a_batch_that_ends_at_the_beginning_of_a_ring_is_sent_whole():
    ring = make_ring(5)
    for first in (0, 100, 200, 300):
        sequences = read_into(ring.lease(2), first)
        message = send(sequences, 0)
        del sequences
        assert take(message) == [first, first + LENGTH]


def test_what_was_never_sent_is_written_again():
    ring = make_ring()
    read_into(ring.lease(4), 0)
    assert len(ring.lease(4).rows) == 4


def test_segments_of_workers_that_are_gone_are_let_go():
    exchange._attached.clear()
    ours, theirs, last = (make_ring().segment.address for _ in range(3))
    for address in (ours, theirs):
        attach(address)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    exchange._attached[theirs.name].address = Address(0, child, 0)
    attach(last)
    assert set(exchange._attached) == {ours.name, last.name}


def test_a_worker_that_was_killed_is_an_error_and_nobody_elses_memory_is_taken_for_its():
    address = make_ring().segment.address
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    for other in (address._replace(process=child), address._replace(name=address.name ^ 1)):
        exchange._attached.clear()
        with pytest.raises(WorkerGoneError, match=rf"DataLoader worker {other.process} was killed"):
            attach(other)


def expected_of(corpus, store, **options) -> list:
    return [each["input_ids"].tolist() for each in DataLoader(make_dataset(corpus, store, **options), batch_size=4)]


@pytest.mark.parametrize("options", [{"window": 3}, {"window": 32, "block_cross_document_attention": True}])
def test_workers_that_share_and_those_that_do_not_give_the_same(small_corpus, full_store, monkeypatch, options):
    expected = expected_of(small_corpus, full_store, **options)
    for slack, possible in ((4, True), (0, True), (4, False)):  # without slack, less is read at a time
        monkeypatch.setattr(reading, "_SLACK", slack)
        monkeypatch.setattr(reading, "can_share", partial(bool, possible))
        dataset = make_dataset(small_corpus, full_store, **options)
        found = [each["input_ids"].tolist() for each in DataLoader(dataset, batch_size=4, num_workers=2)]
        assert found == expected, (slack, possible)


@pytest.mark.parametrize("window", [3, 32, 256])
@pytest.mark.parametrize("batches", [1, 3, 1000], ids="{}_at_a_time".format)
def test_a_trainer_that_keeps_up_is_sent_numbers_alone(small_corpus, full_store, monkeypatch, window, batches):
    options = {"window": window, "max_seq_len": 16}
    expected = expected_of(small_corpus, full_store, **options)
    monkeypatch.setattr(reading, "_READ_AHEAD", batches * 4 * 16)
    monkeypatch.setattr(batch, "_rows", None)  # the way of what is not shared
    dataset = make_dataset(small_corpus, full_store, **options)
    dataset[0]  # what the trainer itself reads is not shared, and its workers are forked from it
    found = [each["input_ids"].tolist() for each in DataLoader(dataset, batch_size=4, num_workers=2)]
    assert found == expected


def test_a_trainer_that_is_far_behind_gets_what_was_sent(small_corpus, full_store):
    expected = expected_of(small_corpus, full_store)
    dataset = make_dataset(small_corpus, full_store)
    loader = DataLoader(dataset, batch_size=4, num_workers=1, prefetch_factor=len(expected))  # all at once
    assert [each["input_ids"].tolist() for each in loader] == expected


def keep(samples):
    """A collate function of a user who keeps samples."""
    kept.append(samples)
    return default_collate([dict(sample) for sample in kept[max(0, len(kept) - 6)]])


kept: list[list[Sample]] = []


def test_samples_that_a_user_keeps_stay_as_they_are(small_corpus, full_store):
    expected = expected_of(small_corpus, full_store, window=4)
    dataset = make_dataset(small_corpus, full_store, window=4)
    found = [each["input_ids"].tolist() for each in DataLoader(dataset, 4, num_workers=1, collate_fn=keep)]
    assert found[5:] == expected[: len(found) - 5]


def test_workers_that_were_persistent_leave_nothing_mapped(small_corpus, full_store):
    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("memfd:streamdocs" in line for line in maps)

    for _ in range(5):
        loader = DataLoader(
            make_dataset(small_corpus, full_store), batch_size=4, num_workers=2, persistent_workers=True
        )
        for _ in range(2):
            next(iter(loader))
        del loader
        gc.collect()
    assert 0 < mapped() <= 2 * 2  # of the last workers, and of those before where they had not ended yet
    assert batch.attach is attach
