"""The table and the plots of a study, from its runs' folders alone."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from runs import WEB, Study
from setting import Setting

from streamdocs._base.unfinished import write_whole
from streamdocs.errors import ConfigError
from streamdocs.measure.efficiency import Efficiencies, efficiencies
from streamdocs.measure.runs import Measured, grouped

mpl.use("Agg")

Result = dict[str, Any]
_LOSSES = ("loss", "loss_short", "loss_long", "loss_out_of_domain")


def write_table(study: Study) -> dict[str, Any]:
    """Write ``summary.json``, ``table.md``, ``runs.jsonl`` and ``study.png``; what is in the first.

    Of the epochs and shares that were tried with a recipe and G, or with an amount of web text, those count whose mean
    loss is the least, as in the paper. So each is the best of a few, by the text that it is measured on.
    """
    results = [json.loads(path.read_text()) for path in sorted(study.out.glob("runs/*/result.json"))]
    chosen = best(results, study.setting)
    found, why = efficiency(chosen)
    rows = [row(group, found) for group in chosen]
    summary = {
        "recipes": {
            name: {str(each["G"]): each for each in rows if each["recipe"] == name} for name in study.setting.recipes
        },
        "web": [each for each in rows if each["recipe"] == WEB],
        "law": vars(found.fit.law) if found else None,
        "warnings": [*(found.warnings if found else [why])],
        "runs": len(results),
    }
    write_whole(study.out / "summary.json", json.dumps(summary, indent=1).encode())
    write_whole(study.out / "runs.jsonl", "".join(json.dumps(each) + "\n" for each in results).encode())
    write_whole(study.out / "table.md", table(rows).encode())
    plot(rows, found, study.out / "study.png")
    return summary


def best(results: Sequence[Result], setting: Setting) -> list[list[Result]]:
    """Of each recipe, G and amount of web text, the runs of the mix that lost least, of those with all seeds."""
    mixes: dict[tuple[str, int, int], dict[tuple[int, str], list[Result]]] = defaultdict(lambda: defaultdict(list))
    for each in results:
        mixes[each["recipe"], each["generations"], each["documents"]][each["epochs"], each["share"]].append(each)
    chosen = []
    for groups in mixes.values():
        whole = [group for group in groups.values() if len(group) == len(setting.seeds)]
        if whole:
            chosen.append(min(whole, key=lambda group: mean(each["loss"] for each in group)))
    order = [WEB, *setting.recipes]
    return sorted(chosen, key=lambda group: (order.index(group[0]["recipe"]), *_amount(group[0])))


def _amount(result: Result) -> tuple[int, int]:
    return result["generations"], result["documents"]


def efficiency(chosen: Sequence[Sequence[Result]]) -> tuple[Efficiencies | None, str]:
    """How much web text each recipe is worth; or why that cannot be said."""
    runs = [
        Measured(
            tokens=each["tokens"], loss=each["loss"], recipe=each["recipe"], G=each["generations"], seed=each["seed"]
        )
        for group in chosen
        for each in group
    ]
    try:
        return efficiencies(grouped(runs)), ""
    except ConfigError as error:
        return None, str(error)


def row(group: Sequence[Result], found: Efficiencies | None) -> dict[str, Any]:
    """A line of the table."""
    first = group[0]
    said = {
        "recipe": first["recipe"],
        "G": first["generations"],
        "documents": first["documents"],
        "tokens": first["tokens"],
        "epochs": first["epochs"],
        "share": first["share"],
        "seeds": len(group),
        **{name: round(mean(each[name] for each in group), 4) for name in _LOSSES},
        "spread": round(max(each["loss"] for each in group) - min(each["loss"] for each in group), 4),
    }
    if first["generations"]:
        said |= {"kept_share": first["kept_share"], "rejected": first["rejected"]}
        name = (first["recipe"], first["generations"])
        here = [each for each in found.recipes if (each.recipe, each.generations) == name] if found else []
        low, high = (here[0].ends or (None, None)) if here else (None, None)
        said |= {"efficiency": here[0].ratio if here else None, "low": low, "high": high}
        said["why"] = here[0].why if here else ""
    return said


def table(rows: Sequence[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| recipe | G | documents | epochs | share | loss | short | long | out of domain | D'/D | 95 % | kept |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in rows:
        ends = [_number(each.get(name), 2) for name in ("low", "high")]
        cells = [each["recipe"], each["G"] or "", each["documents"], each["epochs"], each["share"]]
        cells += [f"{each[name]:.3f}" for name in _LOSSES]
        cells += [_number(each.get("efficiency"), 2), " to ".join(ends), _number(each.get("kept_share"), 2)]
        lines.append("| " + " | ".join(map(str, cells if each["G"] else [*cells[:-3], "", "", ""])) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


def plot(rows: Sequence[dict[str, Any]], found: Efficiencies | None, path: Path) -> None:
    """Loss by web tokens, and by G on all and on long documents."""
    figure, (left, *right) = plt.subplots(1, 3, figsize=(13, 4), constrained_layout=True)
    web = [each for each in rows if each["recipe"] == WEB]
    recipes = list(dict.fromkeys(each["recipe"] for each in rows if each["G"]))
    left.plot([each["tokens"] for each in web], [each["loss"] for each in web], "ko", label="web alone")
    if found:
        tokens = np.geomspace(web[0]["tokens"], web[-1]["tokens"], 100)
        left.plot(tokens, found.fit.law.loss(tokens), "k-", linewidth=1)
    for name in recipes:
        here = [each for each in rows if each["recipe"] == name]
        left.plot([each["tokens"] for each in here], [each["loss"] for each in here], "_", markersize=14, label=name)
    left.set(xscale="log", xlabel="distinct web tokens", ylabel="held-out loss, nats a token")
    left.legend(fontsize="small")
    for axes, loss, title in zip(right, ("loss", "loss_long"), ("all held-out documents", "long ones"), strict=True):
        for name in recipes:
            here = [each for each in rows if each["recipe"] == name]
            axes.plot([each["G"] for each in here], [each[loss] for each in here], "o-", label=name)
        alone = [each for each in web if each["documents"] == rows[-1]["documents"]]
        if alone:
            axes.axhline(alone[0][loss], color="black", linewidth=1, label="web alone")
        axes.set(xlabel="G", title=title, xticks=sorted({each["G"] for each in rows if each["G"]}))
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
