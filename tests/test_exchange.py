"""Memory that a worker shares with its trainer is written again only when nobody needs what is in it."""

import gc
import os
import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader, default_collate

from conftest import make_dataset
from streamdocs import batch, exchange
from streamdocs.batch import Sample, _SharedBatch
from streamdocs.errors import WorkerGoneError
from streamdocs.exchange import Address, Exchange, attach
from streamdocs.sequences import SequencesShape

SHAPE = SequencesShape(rows=4, length=6, token_type="uint16", documents=True)


def read_into(lease, first: int):
    """Sequences of the tokens from ``first`` on."""
    sequences = SHAPE.over(lease.segment.body, lease)
    sequences.tokens[:] = np.arange(first, first + 24).reshape(4, 6)
    sequences.document[:] = 1
    sequences.synthetic[:] = True
    return sequences


def test_a_segment_is_free_when_its_batches_were_taken_and_its_sequences_are_gone():
    segments = Exchange(SHAPE.nbytes)
    sequences = read_into(segments.lease(SHAPE.nbytes), 0)
    segment = sequences.lease.segment
    sent = [pickle.dumps(_SharedBatch(sequences, range(first, first + 2))) for first in (0, 2)]
    assert all(len(message) < 300 for message in sent)
    assert not segment.free
    assert pickle.loads(sent[0])["input_ids"].tolist() == [[*range(6)], [*range(6, 12)]]
    del sequences
    assert not segment.free
    arrived = pickle.loads(sent[1])
    assert segment.free and segments.lease(SHAPE.nbytes).segment is segment
    assert arrived["input_ids"].tolist() == arrived["labels"].tolist() == [[*range(12, 18)], [*range(18, 24)]]
    assert arrived["sequence_id"].tolist() == [[1] * 6] * 2 and arrived["synthetic"].tolist() == [True, True]


def test_what_is_read_while_all_segments_are_in_use_goes_the_other_way():
    segments = Exchange(SHAPE.nbytes)
    leases = [segments.lease(SHAPE.nbytes) for _ in range(3)]
    assert len({lease.segment.address for lease in leases}) == 3
    assert segments.lease(SHAPE.nbytes) is None and segments.lease(SHAPE.nbytes + 1) is None
    del leases[1]
    assert segments.lease(SHAPE.nbytes) is not None


def test_segments_of_workers_that_are_gone_are_let_go():
    exchange._attached.clear()
    segments = Exchange(SHAPE.nbytes)
    ours, theirs, last = [segments.lease(SHAPE.nbytes) for _ in range(3)]
    for lease in (ours, theirs):
        attach(lease.segment.address)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    exchange._attached[theirs.segment.address.name].address = Address(0, child, 0)
    attach(last.segment.address)
    assert set(exchange._attached) == {ours.segment.address.name, last.segment.address.name}


def test_a_worker_that_was_killed_is_an_error_and_nobody_elses_memory_is_taken_for_its():
    address = Exchange(SHAPE.nbytes).lease(SHAPE.nbytes).segment.address
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
    for most in (3, 1, 0):  # segments: with one, most batches find it in use; with none all go through the pipe
        monkeypatch.setattr(exchange, "_MOST_SEGMENTS", most)
        dataset = make_dataset(small_corpus, full_store, **options)
        found = [each["input_ids"].tolist() for each in DataLoader(dataset, batch_size=4, num_workers=2)]
        assert found == expected, most


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
    assert 0 < mapped() <= 2 * 3 * 2  # of the last workers, and of those before where they had not ended yet
    assert batch.attach is attach
