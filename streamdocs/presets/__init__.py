"""What fills in what a run file leaves out, by one name: for small models, and for how much web text there is."""

from streamdocs.presets.mixes import MIXES, Mix, MixPreset, with_mix
from streamdocs.presets.small import with_small_prompts

__all__ = ["MIXES", "Mix", "MixPreset", "with_mix", "with_small_prompts"]
