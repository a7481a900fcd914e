"""The dashboard of sidecars for Grafana: ``python server/deploy/monitoring/dashboard.py > dashboard.json``.

Panels are rows of ``ROWS``: a title, its unit, what it is good for, and expressions with their legends.
"""

from itertools import count

from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

SIDECARS = 'job=~"$job",instance=~"$instance"'
LEGEND = VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
TOOLTIP = VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")


def rate(name: str, *labels: str) -> str:
    """What a counter grew by in a second, over all sidecars, by labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate({name}{{{SIDECARS}}}[$__rate_interval]))"


def now(name: str, how: str, *labels: str) -> str:
    """A gauge over all sidecars, by labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"{how}{by} ({name}{{{SIDECARS}}})"


def diversity(name: str) -> dict[str, str]:
    """One measure of each style and writer."""
    return {
        "{{stream}}: {{style}} by {{writer}}": now(f"streamdocs_diversity_{name}", "avg", "stream", "style", "writer")
    }


def latency(quantile: float) -> str:
    """Below what a share of the requests stay, in seconds."""
    return f"histogram_quantile({quantile}, {rate('streamdocs_request_seconds_bucket', 'le')})"


_GENERATIONS, _REJECTIONS = rate("streamdocs_generations_total"), rate("streamdocs_rejections_total")
# A style may not correct anything; so the denominator is at least one word a second.
_DROPPED = (
    f"{rate('streamdocs_corrections_dropped_total', 'stream', 'style')} / "
    f"clamp_min({rate('streamdocs_corrections_words_total', 'stream', 'style')}, 1)"
)

ROWS: dict[str, list[tuple[str, str, str, dict[str, str]]]] = {
    "How far it is": [
        (
            "Lead over the trainer",
            "short",
            "Documents x rounds by which generation is ahead. Below 0 training goes round again over what there is, or "
            "waits. Nothing here: nobody trains.",
            {"{{stream}}": now("streamdocs_stream_lead", "min", "stream")},
        ),
        (
            "Documents x rounds that are done",
            "short",
            "The watermark: everything before it is written.",
            {"{{stream}}": now("streamdocs_stream_watermark", "max", "stream")},
        ),
        (
            "Rounds that are complete",
            "short",
            "Each gives every document per_round more generations.",
            {"{{stream}}": now("streamdocs_stream_rounds_done", "max", "stream")},
        ),
        (
            "Documents at work",
            "short",
            "Many queued: the servers are full. None in flight: see what the sidecar waits for (/status).",
            {"in flight": now("streamdocs_in_flight", "sum"), "queued": now("streamdocs_queued", "sum")},
        ),
    ],
    "How fast it writes": [
        (
            "Generations",
            "cps",
            "Accepted and stored, in a second.",
            {"stored": _GENERATIONS, "documents x rounds": rate("streamdocs_documents_total")},
        ),
        (
            "Tokens",
            "cps",
            "In a second, rejected generations included.",
            {
                "generated": rate("streamdocs_completion_tokens_total"),
                "read": rate("streamdocs_prompt_tokens_total"),
                "of those from the engine's cache": rate("streamdocs_cached_prompt_tokens_total"),
            },
        ),
        (
            "Generated tokens by writer",
            "cps",
            "In a second, rejected generations included.",
            {"{{writer}}": rate("streamdocs_writer_completion_tokens", "writer")},
        ),
        (
            "Seconds a request takes",
            "s",
            "From asking for a document's generations to having them, retries included.",
            {"half": latency(0.5), "95 %": latency(0.95)},
        ),
    ],
    "Who writes": [
        (
            "Writers that can write",
            "short",
            "In how many sidecars. While one is down the others go on.",
            {"{{writer}}": now("streamdocs_writer_up", "sum", "writer")},
        ),
        (
            "Requests that writers owe",
            "short",
            "One that owes more and more is too slow for its share.",
            {"{{writer}}": now("streamdocs_writer_owes", "sum", "writer")},
        ),
        (
            "Servers that are in",
            "short",
            "One that failed is asked again after a pause.",
            {"{{endpoint}}": now("streamdocs_endpoint_up", "min", "endpoint")},
        ),
        (
            "Requests at each server",
            "short",
            "The limit follows the server's load.",
            {
                "{{endpoint}}": now("streamdocs_endpoint_in_flight", "sum", "endpoint"),
                "limit of {{endpoint}}": now("streamdocs_endpoint_limit", "sum", "endpoint"),
            },
        ),
    ],
    "What goes wrong": [
        (
            "Rejected generations by cause",
            "cps",
            "In a second. `streamdocs generations run.yaml --rejected` shows them.",
            {"{{cause}}": rate("streamdocs_rejections_total", "cause")},
        ),
        (
            "Share that is accepted",
            "percentunit",
            "Of all that came back.",
            {"accepted": f"{_GENERATIONS} / ({_GENERATIONS} + ({_REJECTIONS} or vector(0)))"},
        ),
        (
            "Requests that were sent again",
            "cps",
            "In a second, by cause: a server's faults, not the texts'.",
            {"{{cause}}": rate("streamdocs_retries_total", "cause")},
        ),
        (
            "Documents cut for the model",
            "cps",
            "In a second. They are longer than what the model can read.",
            {"cut": rate("streamdocs_documents_cut_total")},
        ),
        (
            "Words that corrections drop",
            "percentunit",
            "Of the draft's words. Near 0: it changes nothing. Near 1: it writes something else.",
            {"{{stream}}: {{style}}": _DROPPED},
        ),
        (
            "Requests to the object store",
            "cps",
            "Many that are busy: the bucket slows the run down. Nothing here: the store is a folder.",
            {"{{operation}} {{outcome}}": rate("streamdocs_store_requests_total", "operation", "outcome")},
        ),
    ],
    "How different the texts are": [
        (
            "Distinct sequences of three words",
            "percentunit",
            "A style below 50 % has collapsed.",
            diversity("distinct"),
        ),
        ("Texts that were there before", "percentunit", "A style from 5 % on has collapsed.", diversity("repeated")),
        ("Near-copies of the documents", "percentunit", "A style from 10 % on has collapsed.", diversity("copied")),
        ("Texts that begin alike", "percentunit", "A style from 11.5 % on has collapsed.", diversity("alike")),
        ("Mean length of a text", "short", "In characters.", diversity("length_mean")),
    ],
}


def dashboard() -> str:
    """The dashboard as JSON."""
    made = (
        Dashboard("streamdocs: generation")
        .uid("streamdocs")
        .tags(["streamdocs"])
        .time("now-3h", "now")
        .refresh("30s")
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, label in (("job", "Job"), ("instance", "Sidecar")):
        within = "" if name == "job" else '{job=~"$job"}'
        made.with_variable(
            QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query(f"label_values(streamdocs_queued{within}, {name})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .multi(True)
            .all_value(".*")
        )
    numbers = count(1)
    for title, panels in ROWS.items():
        made.with_row(Row(title).id(next(numbers)))
        for name, unit, why, expressions in panels:
            panel = Panel().id(next(numbers)).title(name).description(why).unit(unit)
            panel.datasource(SOURCE).span(8).height(7).legend(LEGEND).tooltip(TOOLTIP)
            if name != "Lead over the trainer":  # which alone may be negative
                panel.min(0)
            for number, (legend, expression) in enumerate(expressions.items()):
                panel.with_target(Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number)))
            made.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build())


if __name__ == "__main__":
    print(dashboard())
