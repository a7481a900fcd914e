"""What is SGLang's own: which weights a server has, how busy it is, whether it works, and how to start one."""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel

from streamdocs.config import GeneratorSection
from streamdocs.errors import ConfigError, EngineError, EngineUnavailableError
from streamdocs_server.engines.base import Completion
from streamdocs_server.engines.openai import OpenAIEngine
from streamdocs_server.supervisor import Supervisor

#: For bulk generation. Longest prefix first keeps the requests of a document together in the radix cache; a cache
#: report in every answer says what that saved; without sleeping on idle, a server that waits for us takes a core;
#: a line for every batch would be hundreds of megabytes a day.
_BULK = [
    "--schedule-policy=lpm",
    "--enable-cache-report",
    "--enable-metrics",
    "--sleep-on-idle",
    "--log-level=warning",
]
#: With ``--device cpu``, on torch's own kernels: SGLang's for the CPU are in no wheel.
_CPU = ["--attention-backend=torch_native", "--disable-overlap-schedule", "--dtype=float32", "--max-total-tokens=20000"]
_CPU_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
#: Of ours, and wrong for another Python.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
#: For what a server answers at once or never.
_CONTROL_SECONDS = 30.0
# No server with another model can take a dead one's place in less, for it has to read its weights.
_CONFIRMED_SECONDS = 5.0


class Load(NamedTuple):
    """Requests that are being answered, requests that wait, and tokens in the cache, over all replicas."""

    running: int
    waiting: int
    used_tokens: int


class _ModelInfo(BaseModel):
    model_path: str
    served_model_name: str | None = None
    weight_version: str | None = None


class _ReplicaLoad(BaseModel):
    num_running_reqs: int
    num_waiting_reqs: int
    num_used_tokens: int


class _Loads(BaseModel):
    loads: list[_ReplicaLoad]


class SGLangEngine(OpenAIEngine):
    """Generations from an SGLang server: one that runs, or one that is started here.

    - ``server``: supervises the server at ``url``; None where somebody else runs it. A request that fails waits until
      the supervisor has a server again.
    - The rest is as in :class:`OpenAIEngine`.
    """

    def __init__(self, *, server: Supervisor | None = None, **connection: Any) -> None:
        # A supervised server comes back, and its supervisor is the one who says when it does not.
        super().__init__(**({"retries": 12} if server else {}) | connection)
        self._server = server
        self._served: tuple[str, str] | None = None
        self._confirmed = 0.0
        self._confirming: asyncio.Task[tuple[str, str]] | None = None
        self._in_flight = 0
        self._answered = 0

    async def model(self) -> tuple[str, str]:
        """Name under which the model is served, and its weight version ("" where none was set: SGLang's "default").

        Starts the server if it is supervised here.

        Raises :class:`~streamdocs.errors.EngineError` if it is not the configured model, or not that of last time.
        """
        if self._server:
            await self._server.start(self)
        return await self._retried(self._identify)

    async def load(self) -> Load:
        """How busy the server is, by its own account (which it renews now and then, not for every question)."""
        loads = (await self._ask("GET", "/v1/loads", None, _Loads, timeout=_CONTROL_SECONDS)).loads
        totals = ((each.num_running_reqs, each.num_waiting_reqs, each.num_used_tokens) for each in loads)
        return Load(*map(sum, zip(*totals, strict=True)))

    async def healthy(self) -> bool:
        """Whether the scheduler gets anywhere: SGLang generates a token for this, or sees others being generated."""
        try:
            return (await self._client.get(f"{self._url}/health")).is_success
        except httpx.RequestError:
            return False

    async def progress(self) -> object:
        """Changes as requests are answered and tokens generated; None while nothing is in flight."""
        if not self._in_flight:
            return None
        try:
            return self._answered, await self.load()
        except EngineError:
            return self._answered, None

    async def close(self) -> None:
        """Close the connections, and stop the server if it is supervised here."""
        await super().close()
        if self._server:
            await self._server.stop()

    async def _identify(self) -> tuple[str, str]:
        info = await self._ask("GET", "/model_info", None, _ModelInfo, timeout=_CONTROL_SECONDS)
        revision = info.weight_version or "default"
        # A server that says nothing and one reached as an "openai" engine must give the same keys.
        served = info.served_model_name or info.model_path, "" if revision == "default" else revision
        what = f"{self._url} serves {served[0]!r} (weights {info.model_path}, version {revision})"
        if self._served not in (None, served):
            raise EngineError(f"{what}, and served {self._served} before. Start that one again, or begin a new run.")
        if self._model not in (None, served[0]):
            raise EngineError(
                f"{what}, but generator.model is {self._model!r}. Start that one, or change the run file."
            )
        self._model, self._served, self._confirmed = served[0], served, time.monotonic()
        return served

    async def _confirm(self) -> None:
        if time.monotonic() - self._confirmed < _CONFIRMED_SECONDS:
            return
        if self._confirming is None or self._confirming.done():  # one question for all who want to know
            self._confirming = asyncio.create_task(self._identify())
        await asyncio.shield(self._confirming)

    async def _chat(self, body: dict[str, Any]) -> tuple[list[Completion], int]:
        if self._server:
            await self._server.ready()
        await self._confirm()
        self._in_flight += 1
        try:
            answer = await super()._chat(body)
        except EngineUnavailableError:
            self._confirmed = 0.0  # whoever answers next may be another server
            raise
        finally:
            self._in_flight -= 1
        self._answered += 1
        return answer


def start_sglang(section: GeneratorSection) -> tuple[Supervisor, str]:
    """A supervisor of SGLang with the model at ``section.model_path``, not yet started, and the server's URL.

    Raises:
        ConfigError: No Python with SGLang is found.
    """
    assert section.model_path is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    flags = [f"--model-path={section.model_path}", "--host=127.0.0.1", f"--port={port}"]
    if section.model:
        flags.append(f"--served-model-name={section.model}")
    if Path(section.model_path).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"  # all is here; a machine without a network should not wait for one
    if "cpu" in section.server_arguments:
        flags += _CPU
        environment = _CPU_ENVIRONMENT | environment
    # The user's come last: of two, the last one counts.
    command = [str(_sglang_python(section)), "-m", "sglang.launch_server", *flags, *_BULK, *section.server_arguments]
    return Supervisor(command, environment, Path(section.server_log)), f"http://127.0.0.1:{port}"


def _sglang_python(section: GeneratorSection) -> Path:
    if section.sglang_python:
        candidates = [Path(section.sglang_python)]
    else:
        candidates = [folder / ".venv-sglang/bin/python" for folder in (Path.cwd(), Path(sys.prefix).parent)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    tried = " or ".join(map(str, candidates))
    raise ConfigError(
        f"No Python with SGLang at {tried}. Set generator.sglang_python (--sglang-python), or make an environment: "
        "server/sglang/README.md says how (`make sglang` for a machine without a GPU)."
    )
