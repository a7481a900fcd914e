"""What the server tells over HTTP: ``/metrics`` for Prometheus, ``/health`` and ``/status`` as JSON."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamdocs._base.serving.door import Guard, is_loopback, read_token
from streamdocs._base.serving.monitor import MONITOR, open_monitor
from streamdocs.generations.diversity import diversity_rows
from streamdocs_server.engines.member import Member
from streamdocs_server.telling.view import waits_for
from streamdocs_server.work.loop import GenerationLoop

log = logging.getLogger(__name__)

#: What is said of each stream and each writer, and the fields of Diversity and of Corrections: as metrics.
_STREAM = {name: f"The {name} of a stream" for name in ("watermark", "rounds_done", "lead")}
_WRITER = {
    "up": "Whether a writer can write",
    "owes": "Requests that a writer has, or that wait for it",
    "answers": "Requests that a writer has answered",
    "completion_tokens": "Tokens that a writer has generated, rejected generations included",
}
_DIVERSITY = {
    "texts": "Newest texts that are looked at",
    "repeated": "Share of them of which an earlier one is the same",
    "copied": "Share of them that are near-copies of their documents",
    "alike": "Share of them that begin with the same words",
    "distinct": "Share of their newest sequences of three words that differ",
    "length_mean": "Mean of their lengths in characters",
    "length_spread": "Standard deviation of their lengths",
    "length_p10": "Length below which a tenth of them are",
    "length_p50": "Length below which half of them are",
    "length_p90": "Length below which nine tenths of them are",
}
_CORRECTIONS = {
    "texts": "Texts that a later step wrote anew",
    "unchanged": "Of those, the ones that came back as they were",
    "words": "Words that they had before",
    "dropped": "Of those, the ones that are not in the text after",
    "added": "Words of the text after that were not in the one before",
}


class Monitor(Collector):
    """Serves what a loop and its writers say about themselves, from a thread, from ``start`` to ``close``.

    Args:
        loop: The loop.
        port: 0 takes a free one.
        host: Who can reach it; everybody else than this machine needs a token.
        token_env: Environment variable with the token that ``/metrics`` and ``/status`` ask for. ``/health`` does not:
            probes have none, and it tells one bit.

    Raises:
        ConfigError: The port cannot be used, or a token is needed and there is none.
    """

    def __init__(self, loop: GenerationLoop, port: int, host: str = "127.0.0.1", token_env: str | None = None) -> None:
        self._loop = loop
        registry = CollectorRegistry()
        registry.register(self)
        self._metrics = make_wsgi_app(registry)
        token = read_token(token_env, host, MONITOR)
        guard = Guard(self._answer, token=token, local=is_loopback(host), open_paths=("/health",))
        self._server = open_monitor(host, port, guard)
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        log.info("%s/metrics, /health and /status tell how it goes", self.url)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def healthy(self) -> bool:
        """Whether generations can be written now: some writer can."""
        return self._loop.finished or any(writer.up for writer in self._loop.desk.writers)

    @property
    def _members(self) -> list[tuple[str, Member]]:
        """Every server, and the name of its writer."""
        named = ((writer.name, writer.pool) for writer in self._loop.desk.writers)
        return [(name, member) for name, pool in named if pool for member in pool.members]

    def status(self) -> dict[str, Any]:
        """Everything at a glance; counts are since this server started."""
        loop, done = self._loop, self._loop.statistics
        return {
            "state": loop.state,
            "waits_for": waits_for(loop),
            "watermark": loop.watermark,
            "rounds_done": loop.rounds_done,
            "lead": loop.lead,
            "streams": {
                lane.name: {"watermark": lane.watermark, "rounds_done": lane.rounds_done, "lead": lane.lead}
                for lane in loop.lanes
            },
            "in_flight": loop.in_flight,
            "queued": loop.queued,
            "requests_answered": done.answers,
            "documents_written": done.asked,
            "documents_found": done.found,
            "generations_written": done.written.generations,
            "documents_cut": done.written.cut,
            "rejected": dict(done.written.rejected),
            "retries": dict(sum((pool.retries for pool in loop.desk.pools), Counter[str]())),
            "prompt_tokens": done.prompt_tokens,
            "cached_prompt_tokens": done.cached_tokens,
            "completion_tokens": done.completion_tokens,
            "writers": {
                writer.name or "default": {
                    "up": writer.up,
                    "answers": writer.answers,
                    "completion_tokens": writer.completion_tokens,
                    "owes": writer.owes,
                    "fault": writer.fault,
                }
                for writer in loop.desk.writers
            },
            "store_requests": {" ".join(which): count for which, count in [*loop.store.requests.items()]},
            "diversity": diversity_rows(done.outcome.diversities.measure()),
            "corrections": [
                {"stream": stream, "style": style, **asdict(each)}
                for (stream, style), each in done.outcome.corrections.copy().items()
            ],
            "endpoints": [
                {
                    "url": member.endpoint.url,
                    "writer": name,
                    "up": member.up,
                    "in_flight": len(member.asking),
                    "limit": int(member.limit),
                    "failures_in_a_row": member.failures,
                    "last_error": member.last_error,
                }
                for name, member in self._members
            ],
        }

    def collect(self) -> Iterator[Metric]:
        """The same for Prometheus."""
        status = self.status()
        gauges = {
            "in_flight": "Documents that are being asked for",
            "queued": "Documents that wait to be asked for",
            "rounds_done": "Rounds that are complete",
            "lead": "Documents x rounds by which generation is ahead of the trainer",
        }
        counters = {
            "documents": ("Documents x rounds that were generated", status["documents_written"]),
            "documents_cut": ("Of those, too long for the model and cut", status["documents_cut"]),
            "generations": ("Generations that were stored", status["generations_written"]),
            "prompt_tokens": ("Prompt tokens of answered requests", status["prompt_tokens"]),
            "cached_prompt_tokens": ("Of those, from the engine's cache", status["cached_prompt_tokens"]),
            "completion_tokens": ("Generated tokens, rejected generations included", status["completion_tokens"]),
        }
        by_cause = {
            "retries": ("Requests that were sent again", status["retries"]),
            "rejections": ("Generations that were not accepted", status["rejected"]),
        }
        by_endpoint: dict[str, tuple[str, Callable[[Any], float]]] = {
            "endpoint_up": ("Whether a server is in", lambda member: member.up),
            "endpoint_in_flight": ("Requests in flight", lambda member: len(member.asking)),
            "endpoint_limit": ("Requests that it is given at once", lambda member: member.limit),
        }
        for name, text in gauges.items():
            if status[name] is not None:  # no lead without a trainer
                yield GaugeMetricFamily(f"streamdocs_{name}", text, value=status[name])
        streams = [{"stream": stream, **said} for stream, said in status["streams"].items()]
        writers = [{"writer": writer, **said} for writer, said in status["writers"].items()]
        yield from _labelled(GaugeMetricFamily, "stream", _STREAM, ["stream"], streams)
        yield from _labelled(GaugeMetricFamily, "writer", _WRITER, ["writer"], writers)
        group = ["stream", "style", "writer"]
        yield from _labelled(GaugeMetricFamily, "diversity", _DIVERSITY, group, status["diversity"])
        yield from _labelled(CounterMetricFamily, "corrections", _CORRECTIONS, group[:2], status["corrections"])
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"streamdocs_{name}", text, value=value)
        for name, (text, causes) in by_cause.items():
            counter = CounterMetricFamily(f"streamdocs_{name}", text, labels=["cause"])
            for cause, count in causes.items():
                counter.add_metric([cause], count)
            yield counter
        for name, (text, get) in by_endpoint.items():
            gauge = GaugeMetricFamily(f"streamdocs_{name}", text, labels=["endpoint"])
            for _, member in self._members:
                gauge.add_metric([member.endpoint.url], get(member))
            yield gauge
        requests = CounterMetricFamily(
            "streamdocs_store_requests", "Requests to an object store", labels=["operation", "outcome"]
        )
        for which, count in status["store_requests"].items():
            requests.add_metric(which.split(" "), count)
        yield requests
        yield from self._loop.statistics.latency.collect()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self._metrics(environ, start_response)
        if path == "/health":
            healthy = self.healthy()
            content: dict[str, Any] = {"healthy": healthy}
            status = "200 OK" if healthy else "503 Service Unavailable"
        elif path == "/status":
            status, content = "200 OK", self.status()
        else:
            status, content = "404 Not Found", {"error": "there are /metrics, /health and /status"}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(content, indent=2).encode() + b"\n"]


def _labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    of: str,
    texts: Mapping[str, str],
    labels: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
) -> Iterator[Metric]:
    """A metric for each field of some rows, None left out; the values of other fields are its labels."""
    for name, text in texts.items():
        metric = kind(f"streamdocs_{of}_{name}", text, labels=labels)
        for row in rows:
            if row[name] is not None:
                metric.add_metric([row[label] for label in labels], row[name])
        yield metric
