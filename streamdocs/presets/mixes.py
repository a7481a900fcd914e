"""Mixes by regime (``mix.preset``): reported best shares conflict, so there are several, each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from streamdocs._base.typed import exact_fraction
from streamdocs.errors import ConfigError

MixPreset = Literal["data-constrained", "many-generations", "balanced", "web-rich", "small-scale"]


@dataclass(frozen=True)
class Mix:
    """What a name stands for.

    Args:
        regime: When it is for.
        values: Of fields of ``mix``, as a run file would have them.
        source: By each field, who reports its value.
        epochs: How often web text was read there, which is for the trainer to do; "" where that is not said.
    """

    regime: str
    values: Mapping[str, Any]
    source: Mapping[str, str]
    epochs: str


def _mix(regime: str, synthetic_fraction: float, source: str, epochs: str = "") -> Mix:
    values, sources = {"synthetic_fraction": synthetic_fraction}, {"synthetic_fraction": source}
    return Mix(regime, MappingProxyType(values), MappingProxyType(sources), epochs)


#: By their names.
MIXES: Mapping[MixPreset, Mix] = MappingProxyType(
    {
        "data-constrained": _mix(
            "little web text, read many times, with 2 to 16 generations a document (rephrases alone: to 32)",
            0.75,
            "arXiv 2603.18534: the best share for each of these, 164,000 documents, 300 M parameters",
            "4 to 16",
        ),
        "many-generations": _mix(
            "the same with megadocs of 32 generations",
            0.9,
            "arXiv 2603.18534: the best share for stitched rephrases and latent thoughts at G = 32",
            "32",
        ),
        "balanced": _mix(
            "as much web text as synthetic",
            0.5,
            "arXiv 2401.16380 (WRAP): real and rephrased text one to one",
        ),
        "web-rich": _mix(
            "web text to spare",
            0.3,
            "arXiv 2412.02595 (Nemotron-CC): the synthetic share of its data",
        ),
        "small-scale": _mix(
            "small models, judged by benchmarks",
            0.7,
            "arXiv 2604.13977 (FinePhrase): the middle of the 60 to 80 % that did best",
        ),
    }
)


def with_mix(fields: Any) -> Any:
    """The fields of a mix, with those that its preset says; what is wrong otherwise is told by the fields themselves.

    Raises:
        ValueError: The file says another value beside it. It is refused and does not win: a preset says so little that
            a run with another value would have no more than its name.
    """
    if not isinstance(fields, dict) or fields.get("preset") not in [*MIXES]:
        return fields
    preset = fields["preset"]
    for name, value in MIXES[preset].values.items():
        if name in fields and not _same(fields[name], value):
            raise ValueError(
                f"preset {preset} says {name} {value}, and the file another: leave out the one or the other"
            )
    return {**fields, **MIXES[preset].values}


def _same(said: Any, value: float) -> bool:
    try:
        return exact_fraction(said) == exact_fraction(value)
    except ConfigError:
        return False
