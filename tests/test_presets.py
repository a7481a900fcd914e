"""``mix.preset``: the same run as one with its values written out, and never one that says something else."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from conftest import TEMPLATE
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.commands.inspection import told_preset
from streamdocs.errors import ConfigError
from streamdocs.presets import MIXES, MixPreset
from streamdocs.run import Run


def load(folder: Path, corpus: Path, **mix) -> RunFile:
    fields = {"corpus": str(corpus), "store": "store", "recipe": {"name": "stitch", "generations": 2}, "mix": mix}
    (folder / "run.yaml").write_text(yaml.safe_dump(fields))
    return RunFile.load(folder / "run.yaml")


def test_every_number_has_a_source():
    assert {*MIXES} == {*get_args(MixPreset)}
    for mix in MIXES.values():
        assert {*mix.values} == {*mix.source} and all(
            re.search(r"arXiv \d{4}\.\d{5}", said) for said in mix.source.values()
        )


@pytest.mark.parametrize("name", MIXES)
def test_a_preset_is_its_values_written_out(tmp_path, small_corpus, name):
    preset = Run.of(load(tmp_path, small_corpus, preset=name, window=32), TEMPLATE)
    plain = Run.of(load(tmp_path, small_corpus, **MIXES[name].values, window=32), TEMPLATE)
    assert preset.fingerprint == plain.fingerprint and preset.id == plain.id
    assert f"synthetic_fraction {MIXES[name].values['synthetic_fraction']}" in told_preset(name)


def test_the_same_value_beside_it_may_stand_and_another_is_refused(tmp_path, small_corpus):
    for same in (0.75, "3/4", "0.750"):
        assert (
            load(tmp_path, small_corpus, preset="data-constrained", synthetic_fraction=same).mix.synthetic_fraction
            == 0.75
        )
    for other in (0.5, "1/3"):
        with pytest.raises(
            ConfigError, match=r"mix: preset data-constrained says synthetic_fraction 0.75, and the file"
        ):
            load(tmp_path, small_corpus, preset="data-constrained", synthetic_fraction=other)
    with pytest.raises(ConfigError, match=r"mix\.preset: has to be 'data-constrained'"):
        load(tmp_path, small_corpus, preset="plenty")


def test_what_is_given_in_code_goes_over_it(tmp_path, small_corpus):
    load(tmp_path, small_corpus, preset="data-constrained", window=32)
    given = {"synthetic_fraction": 0.5, "generator": TEMPLATE}
    dataset = StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=4, **given)
    assert dataset.run.fingerprint["synthetic_fraction"] == "1/2"


def test_streams_say_their_shares_themselves(tmp_path, small_corpus):
    streams = {"web": {"share": "1/4"}, "more": {"share": "3/4", "recipe": {"name": "stitch", "generations": 2}}}
    fields = {"corpus": str(small_corpus), "store": "store", "streams": streams, "mix": {"preset": "data-constrained"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError, match=r"streams say what recipe and mix\.preset do"):
        RunFile.load(tmp_path / "run.yaml")
