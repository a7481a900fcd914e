"""What belongs to another run is refused, and every field that differs is named."""

from dataclasses import replace

import pytest

from conftest import TEMPLATE, make_corpus, make_dataset, make_texts
from streamdocs import Generator, Rephrase, Stitch
from streamdocs.errors import FingerprintError
from streamdocs.ledger.file import export_ledger, import_ledger

OTHERS = {
    "corpus": lambda folder: {"corpus": make_corpus(folder, make_texts(90), train_tokenizer=400)},
    "tokenizer": lambda folder: {"corpus": make_corpus(folder, make_texts(100), train_tokenizer=300)},
    "recipe": lambda folder: {"recipe": Stitch(generations=2, web="first")},
    "recipe's kind": lambda folder: {"recipe": Rephrase(generations=2)},
    "recipe's prompt": lambda folder: {"recipe": Stitch(generations=2, prompt="Write again: {document}")},
    "generator": lambda folder: {"generator": Generator(model="other")},
    "generator's temperature": lambda folder: {"generator": replace(TEMPLATE, temperature=0.5)},
    "shuffle_seed": lambda folder: {"shuffle_seed": 18},
    "shuffle_seed without a shuffle": lambda folder: {"shuffle_seed": 18, "shuffle": False},
    "shuffle": lambda folder: {"shuffle_algo": "py1s"},
    "synthetic_fraction": lambda folder: {"synthetic_fraction": 0.5},
    "synthetic_fraction of nothing": lambda folder: {"synthetic_fraction": 0, "store": None},
    "max_seq_len": lambda folder: {"max_seq_len": 128},
    "window": lambda folder: {"window": 16},
    "name": lambda folder: {"name": "second"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_runs_state_and_ledger_are_refused(name, small_corpus, full_store, tmp_path):
    """Each field by its name, in both directions, and no field that is the same."""
    base = {"shuffle": False} if "without a shuffle" in name else {}
    first = make_dataset(small_corpus, full_store, **base)
    second = make_dataset(**{"corpus": small_corpus, "store": full_store, **OTHERS[name](tmp_path)})
    field = name.split("'")[0].split(" ")[0]
    expected = {field}
    expected |= {"corpus", "tokenizer"} if field in ("corpus", "tokenizer") else set()
    expected |= {"recipe", "generator"} if "of nothing" in name else set()
    for one, two in ((first, second), (second, first)):
        with pytest.raises(FingerprintError, match="the state belongs to another run") as error:
            two.load_state_dict(one.state_dict(0, True))
        assert named_in(str(error.value)) == expected
        if one.ledger and two.ledger:
            with pytest.raises(FingerprintError, match="the file belongs to another run") as error:
                import_ledger(two.ledger, export_ledger(one.ledger))
            assert named_in(str(error.value)) == expected
    first.load_state_dict(make_dataset(small_corpus, full_store, **base).state_dict(0, True))


def named_in(message: str) -> set[str]:
    return {part.split(":")[0] for part in message.split("run: ")[1].split("; ")}


def test_all_fields_that_differ_are_named_at_once(small_corpus, full_store):
    state = make_dataset(small_corpus, full_store).state_dict(0, True)
    with pytest.raises(FingerprintError) as error:
        make_dataset(small_corpus, full_store, window=16, shuffle_seed=1, name="x").load_state_dict(state)
    assert named_in(str(error.value)) == {"window", "shuffle_seed", "name"}
    for nothing in ({}, {"fingerprint": None}, {"fingerprint": {}}):
        with pytest.raises(FingerprintError):
            make_dataset(small_corpus, full_store).load_state_dict(nothing)
