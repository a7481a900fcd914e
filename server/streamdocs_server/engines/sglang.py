"""What is SGLang's own: which weights a server has, how busy it is, whether it works, and how to start one."""

import logging
import math
import os
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from streamdocs.errors import ConfigError, EngineError
from streamdocs.recipes import Request
from streamdocs.writers import GeneratorSection
from streamdocs_server._base.network import past_proxies
from streamdocs_server.engines.answers import Chat, Tokens
from streamdocs_server.engines.base import Answer, TryAgainError
from streamdocs_server.engines.connection import NotThereError
from streamdocs_server.engines.openai import Load, OpenAIEndpoint
from streamdocs_server.supervision.supervisor import Supervisor

log = logging.getLogger(__name__)

#: For bulk generation. Longest prefix first keeps the requests of a document together in the radix cache; a cache
#: report in every answer says what that saved; without sleeping on idle, a server that waits for us takes a core;
#: a line for every batch would be hundreds of megabytes a day.
_BULK = ["--schedule-policy=lpm", "--enable-cache-report", "--enable-metrics", "--sleep-on-idle", "--log-level=warning"]
#: With ``--device cpu``, on torch's own kernels: SGLang's for the CPU are in no wheel.
#: A prompt is read in pieces, at some 300 tokens a second: nothing else is answered during one.
_CPU = ["--attention-backend=torch_native", "--disable-overlap-schedule", "--dtype=float32", "--max-total-tokens=20000"]
_CPU += ["--chunked-prefill-size=512"]
_CPU_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
#: Of ours, and wrong for another Python.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
#: A health check; SGLang itself gives up after 20.
_HEALTH_SECONDS = 25.0
#: Without an answer, a token or a healthy word. Prompts that fill a batch are read in a minute on a slow machine.
_HANG_SECONDS = 120.0
#: Characters of a version that are told apart: one more than a model's name may have.
_MOST_VERSION = 1025


class ModelInfo(BaseModel):
    """What SGLang says of the model that it serves."""

    model_path: str
    served_model_name: str | None = None
    weight_version: str | None = None


class _ReplicaLoad(BaseModel):
    num_running_reqs: Tokens
    num_waiting_reqs: Tokens
    num_used_tokens: Tokens
    token_usage: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class _Loads(BaseModel):
    loads: list[_ReplicaLoad]


class SGLangEndpoint(OpenAIEndpoint):
    """An SGLang server: one that runs, or one that is started here. Another kind of server is taken as it is.

    - ``server``: supervises the server at ``url``; None where somebody else runs it.
    - The rest is as in :class:`OpenAIEndpoint`.
    """

    def __init__(self, *, server: Supervisor | None = None, **connection: Any) -> None:
        super().__init__(**connection)
        self._counts = True
        self._server = server
        self._is_sglang = True
        self._in_flight = 0
        self._answered = 0
        # When it last was seen to get on (monotonic seconds), and how far it was then.
        self._alive = -math.inf
        self._mark: object = None
        # Version of the weights that it began with, and another one that an answer was of; None where there is none.
        self._version: str | None = None
        self._other_version: str | None = None

    async def identify(self) -> tuple[str, str]:
        """Name under which the model is served, and its weight version ("" where none was set: SGLang's "default").

        Starts the server if it is supervised here, and waits where its supervisor is starting it again.
        """
        if self._server:
            await self._server.start(self)
            await self._server.ready()
        if (served := await self.weights()) is None:
            return await super().identify()
        await self._check_alive()
        return served

    async def weights(self) -> tuple[str, str] | None:
        """What :meth:`identify` tells of a server that runs, alive or not; None from one that is not SGLang."""
        info = await self._info()
        return None if info is None else await self._served(info)

    async def _served(self, info: ModelInfo) -> tuple[str, str]:
        """Name and version of a model, if it is the one that is configured."""
        revision = info.weight_version or "default"
        name = info.served_model_name or info.model_path
        if self.model not in (None, name):
            raise EngineError(
                self._http.hide(
                    f"{self.url} serves {name!r} (weights {info.model_path}, version {revision}), but generator.model "
                    f"is {self.model!r}. Start that one, or change the run file."
                )
            )
        self._check_name(name)
        self._check_name(revision)
        self.model = name
        await super().identify()  # which tells how long a prompt may be
        version = version_of(revision)
        self._version = version if self._version is None else self._version
        return name, version

    async def load(self) -> Load | None:
        """How busy the server is (it renews that now and then, not for every question); None where it does not say."""
        if not self._is_sglang:
            return None
        try:
            loads = (await self._http.control("GET", "/v1/loads", None, _Loads)).loads
        except NotThereError:
            return None
        except TryAgainError as error:
            if error.cause != "timeout":
                raise
            return None  # whether it hangs is for its health and its answers to say
        return Load(
            sum(each.num_running_reqs for each in loads),
            sum(each.num_waiting_reqs for each in loads),
            sum(each.num_used_tokens for each in loads),
            max((each.token_usage for each in loads), default=0.0),
        )

    async def healthy(self) -> bool:
        """Whether the scheduler gets anywhere: SGLang generates a token for this, or sees others being generated."""
        status = await self._http.status("/health", _HEALTH_SECONDS)
        return status is not None and status < 300

    async def progress(self) -> object:
        """Changes as requests are answered and tokens read or generated; None while nothing is in flight."""
        if not self._in_flight:
            return None
        try:
            return self._answered, await self.load()
        except EngineError:
            return self._answered, None

    async def ask(self, request: Request, n: int, seed: int) -> Answer:
        """As any server; what is in flight and answered tells whether this one gets on."""
        self._in_flight += 1
        try:
            answer = await super().ask(request, n, seed)
        finally:
            self._in_flight -= 1
        self._answered += 1
        self._alive = time.monotonic()
        return answer

    async def _chat(self, request: Request, n: int, seed: int) -> Chat:
        """As of any server; of other weights than it began with, an answer is none.

        Raises :class:`~streamdocs_server.engines.base.TryAgainError` then: :meth:`identify` says who it is now.
        """
        chat = await super()._chat(request, n, seed)
        for version in map(version_of, chat.versions):
            self._version = version if self._version is None else self._version
            if version != self._version:
                self._other_version = version
                told, began = (each[:200] or "default" for each in (version, self._version))
                raise self._http.try_again("other weights", f"an answer of version {told!r}, it began with {began!r}")
        return chat

    async def close(self) -> None:
        """Stop the server if it is supervised here, and close the connections, which the supervisor looks through."""
        if self._server:
            await self._server.stop()
        await super().close()

    async def _info(self) -> ModelInfo | None:
        """What SGLang says of its model; None from another kind of server, as a router is."""
        if not self._is_sglang:
            return None
        try:
            return await self._http.control("GET", "/model_info", None, ModelInfo)
        except (NotThereError, TryAgainError) as error:
            known = self._alive > -math.inf or self._server
            if known or (isinstance(error, TryAgainError) and error.cause != "malformed answer"):
                raise
            log.warning(
                "%s is no SGLang server, for it has no /model_info: it is used as by generator.engine: openai. Its "
                "weights' version is not known, nor its load, nor whether it hangs.",
                self.url,
            )
            self._is_sglang = self._counts = False
            return None

    async def _check_alive(self) -> None:
        """A long prompt that is read keeps the health check waiting: whatever else goes on is a sign of life, too.

        Raises :class:`~streamdocs_server.engines.base.TryAgainError` where nothing of the kind was seen for a while.
        """
        healthy, mark = await self.healthy(), await self.progress()
        if healthy or (mark is not None and mark != self._mark):
            self._alive = time.monotonic()
        self._mark = mark
        if time.monotonic() - self._alive > _HANG_SECONDS:
            raise self._http.try_again("hang", "it answers, and its scheduler does not")


def version_of(told: str | None) -> str:
    """A weight version; "" for none: one that says nothing has to give the same keys as one that says "default"."""
    return "" if told in (None, "default") else str(told)[:_MOST_VERSION]


def check_can_start(section: GeneratorSection) -> None:
    """Make sure that a server could be started: its Python is there, and its model where that is a path.

    Raises:
        ConfigError: It could not.
    """
    model = section.model_path or ""
    # The name of a model on a hub has no more than one slash, and none before it.
    is_path = model.startswith(("/", ".")) or model.count("/") > 1
    if is_path and "://" not in model and not os.path.exists(model):
        raise ConfigError(f"generator.model_path {model}: nothing is there: name the model's folder, or its hub's name")
    _sglang_python(section)


def start_sglang(section: GeneratorSection) -> tuple[Supervisor, str]:
    """A supervisor of SGLang with the model at ``section.model_path``, not yet started, and the server's URL.

    Raises:
        ConfigError: No Python with SGLang is found.
    """
    assert section.model_path is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It asks itself over HTTP while it starts.
    environment = past_proxies({name: value for name, value in os.environ.items() if name not in _NOT_INHERITED})
    flags = [f"--model-path={section.model_path}", "--host=127.0.0.1", f"--port={port}"]
    if section.model:
        flags.append(f"--served-model-name={section.model}")
    if Path(section.model_path).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"  # all is here; a machine without a network should not wait for one
    if _device(section.server_arguments) == "cpu":
        flags += _CPU
        environment = _CPU_ENVIRONMENT | environment
    # The user's come last: of two, the last one counts.
    command = [str(_sglang_python(section)), "-m", "sglang.launch_server", *flags, *_BULK, *section.server_arguments]
    return Supervisor(command, environment, Path(section.server_log)), f"http://127.0.0.1:{port}"


def _device(arguments: Sequence[str]) -> str | None:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--device", nargs="?")
    return parser.parse_known_args(arguments)[0].device


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
