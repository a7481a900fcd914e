"""``streamdocs audit --diversity``: how different the newest generations in a store are, by style and writer."""

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.table import Table

from streamdocs._base.console import printable
from streamdocs.generations.diversity import NEWEST, Diversity, Group


def diversity_table(measured: Mapping[Group, Diversity]) -> Table:
    """How different the texts of each group are."""
    table = Table(title=f"the newest {NEWEST:,} generations of each style and writer", box=SIMPLE)
    table.add_column("style by writer (stream)", overflow="fold")
    for name in ("texts", "repeated", "copied", "alike", "distinct", "length"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, found in measured.items():
        shares = (found.repeated, found.copied, found.alike, found.distinct)
        told = ("-" if share is None else f"{share:.1%}" for share in shares)
        length = f"{found.length_mean:,.0f} ± {found.length_spread:,.0f}"
        name = printable(str(group).removeprefix("style "))
        table.add_row(name, f"{found.texts:,}", *told, length)
    return table


def collapse_lines(measured: Mapping[Group, Diversity]) -> list[str]:
    """What has collapsed of each group."""
    found = {group: group.collapses(each) for group, each in measured.items()}
    return [printable(f"{group} has collapsed: {', '.join(said.values())}") for group, said in found.items() if said]
