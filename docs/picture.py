"""The picture of docs/glossary.md: one small run, from its rounds of generation to the windows that read them.

``python docs/picture.py`` prints it. A real run goes by the same functions; only the store is made up here.
"""

from fractions import Fraction
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.sealing import Sealer
from streamdocs.recipes import Stitch
from streamdocs.schedule.mixture import Mixture, plain_shares
from streamdocs.schedule.order import Shuffle, SourceOrder
from streamdocs.schedule.packing import Packer, Unit, Units
from streamdocs.schedule.rounds import GenerationOrder

NAMES = "abcdef"
DOCUMENT_TOKENS, GENERATION_TOKENS = 8, 4
RECIPE = Stitch(generations=4, per_round=2, rounds=4, separator="")
ORDER = SourceOrder(np.array([len(NAMES)]), Shuffle(5), "synthetic")
GENERATION = GenerationOrder(RECIPE, ORDER)
MIXTURE = Mixture(plain_shares(Fraction(1, 2)), max_seq_len=16, window=8, seed=5)
#: How much exists when each window is sealed. Real ones move by blocks of 16 documents.
WATERMARKS = (4, 5, 11, 16, 22)
#: Tokens that one character of the picture stands for.
SCALE = 2


class Shelf:
    """A store in which all generations up to a watermark exist, and are as long as each other."""

    def __init__(self, watermark: int) -> None:
        self.watermark = watermark

    def all_lengths(self, documents: Ints, rounds: Ints) -> npt.NDArray[np.uint32]:
        """Tokens of each generation of some items."""
        return np.full((len(documents), RECIPE.round_size), GENERATION_TOKENS, np.uint32)

    def all_checksums(self, units: Units) -> npt.NDArray[np.uint64]:
        """Nobody looks at any text here."""
        return np.zeros(len(units.tokens), np.uint64)


def draw() -> str:
    """The picture."""
    packer = Packer(RECIPE, RECIPE.unit_layout, constants={})
    stream = SimpleNamespace(mixture=MIXTURE, recipe=RECIPE, order=ORDER, rows=partial(MIXTURE.rows, 1))
    stream.unit_tokens = lambda units: packer.unit_tokens(units, np.full(len(units), DOCUMENT_TOKENS))
    sealer = Sealer(stream, GENERATION, "reuse")
    sealed: list[Manifest] = []
    for watermark in WATERMARKS:
        manifest = sealer.seal(sealed[-1].after if sealed else State(), Shelf(watermark))
        assert isinstance(manifest, Manifest), manifest
        sealed.append(manifest)
    parts = (rounds(), sweeps(sealed), windows(sealed), positions(1))
    return "\n\n".join("\n".join(map(str.rstrip, part)) for part in parts)


def rounds() -> list[str]:
    """Each round: its slots, its documents in order, and where the watermark stood when each window was sealed."""
    lines = ["ROUNDS of generation: documents in order; [n is the watermark at which window n was sealed"]
    for round in range(RECIPE.total_rounds or 0):
        block = GENERATION.block(round * GENERATION.blocks_per_round)
        items = ""
        for item, document in enumerate(GENERATION.sources_of(block), round * len(NAMES) + 1):
            mark = f"[{WATERMARKS.index(item)}" if item in WATERMARKS else ""
            items += f" {NAMES[document]} {mark:2}"
        slots = " and ".join(map(str, RECIPE.slots_of_round(round)))
        lines.append(
            f"round {round}  {items}  fills slots {slots}, in the order of sweep {RECIPE.order_of_round(round)}"
        )
    return lines


def sweeps(sealed: list[Manifest]) -> list[str]:
    """Each sweep: its units end to end, and below them the windows that read them."""
    lines = ["SWEEPS of reading: units end to end, with the round that filled each slot; (x): nothing of x exists yet"]
    starts = np.cumsum([0, *(manifest.unit_rows * MIXTURE.max_seq_len for manifest in sealed)]).tolist()
    units, at = dict(units_of(sealed)), 0
    for sweep in range(sealed[-1].after.sweep + 1):
        drawn, left_out, begin = "", "", at
        for place, document in enumerate(ORDER.order(sweep).tolist()):
            if unit := units.get((sweep, place)):
                tokens = DOCUMENT_TOKENS + GENERATION_TOKENS * len(unit.generations)
                drawn += f"|{NAMES[document]} {filled(unit)}".ljust(tokens // SCALE)
                at += tokens
            elif (sweep, place) < max(units):
                left_out += f" ({NAMES[document]})"
        read = ""
        for window, (start, stop) in enumerate(pairwise(starts)):
            if here := range(max(start, begin), min(stop, at)):
                read += f"{'[' if here.start == start else '.'}window {window} ".ljust(len(here) // SCALE, ".")
        lines += [f"sweep {sweep}  {drawn}|{left_out}", f"         {read}"]
    return lines


def units_of(sealed: list[Manifest]) -> list[tuple[tuple[int, int], Unit]]:
    """All units in the order of reading, and the sweep and place of each."""
    found = []
    for manifest in sealed:
        before, after = manifest.before, manifest.after
        # What it reads and what it leaves over, less what it has from the window before.
        units = [*manifest.units.listed(), *after.carry[after.skip > 0 :]][len(before.carry) :]
        sweep, place = before.sweep, before.cursor
        for unit in units:
            while ORDER.order(sweep)[place] != unit.document:
                sweep, place = next_place(sweep, place)
            found.append(((sweep, place), unit))
            sweep, place = next_place(sweep, place)
    return found


def next_place(sweep: int, place: int) -> tuple[int, int]:
    """The place after one, in the next sweep where this one ends."""
    return (sweep, place + 1) if place + 1 < ORDER.sources else (sweep + 1, 0)


def filled(unit: Unit) -> str:
    """For each slot the round that filled it."""
    rounds = {RECIPE.slots_of_round(round)[number]: str(round) for round, number, _ in unit.generations}
    return "".join(rounds.get(slot, "-") for slot in range(RECIPE.generations))


def windows(sealed: list[Manifest]) -> list[str]:
    """What each manifest says."""
    lines = ["WINDOWS   watermark   begins with             reads         leaves over"]
    for window, manifest in enumerate(sealed):
        begun, rest = (
            f"{NAMES[state.carry[0].document]} after {state.skip} tokens" if state.skip else "nothing"
            for state in (manifest.before, manifest.after)
        )
        units = " ".join(NAMES[document] for document in manifest.units.documents)
        lines.append(f"window {window}  {manifest.watermark:<11} {begun:<23} {units:<13} {rest}")
    return lines


def positions(window: int) -> list[str]:
    """Which sequences stand at the positions of a window."""
    rows = MIXTURE.rows(0, window), MIXTURE.rows(1, window)
    plan, first = MIXTURE.plan(window), window * MIXTURE.window
    cells = [
        f"{first + at}: {MIXTURE.shares[stream].name} {rows[stream][row]}"
        for at, (stream, row) in enumerate(zip(plan.stream.tolist(), plan.row.tolist(), strict=True))
    ]
    return [f"POSITIONS of window {window}, and the sequence of its stream at each", "  ".join(cells)]


if __name__ == "__main__":
    print(draw())
