"""From a run file's generator section to an engine."""

import logging
from typing import Any

from anyio import CapacityLimiter

from streamdocs.errors import ConfigError
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.base import Engine, Sampling
from streamdocs_server.engines.gateway import GatewayEndpoint
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.sglang import SGLangEndpoint, check_can_start, start_sglang
from streamdocs_server.engines.template import TemplateEngine

log = logging.getLogger(__name__)


def with_options(section: GeneratorSection, given: dict[str, Any]) -> GeneratorSection:
    """A run file's generator section with the options of the command line, which win.

    Raises:
        ConfigError: Options that contradict each other.
    """
    if {"model_path", "endpoint"} <= given.keys():
        raise ConfigError("--model starts a server and --endpoint uses one that runs: give one of the two")
    if "model_path" in given:
        given |= {"engine": "sglang", "endpoint": ()}
    elif "endpoint" in given:
        # Any endpoint will do as an "openai" one; a run file that says "sglang" may know better.
        given |= {"engine": "sglang" if section.engine == "sglang" else "openai", "model_path": None}
    return section.model_copy(update=given)


def make_engine(section: GeneratorSection, slots: CapacityLimiter, failure_budget: int) -> Engine:
    """The engine that a run file names; how it uses ``slots`` is told in :class:`Pool`.

    Raises:
        ConfigError: Not enough is said, or too much.
    """
    if section.engine == "template":
        log.info("the template engine is a stand-in without a model, for trying out; --endpoint uses a real one")
        return TemplateEngine(tokens_per_second=section.tokens_per_second)
    return Pool(make_endpoints(section), slots=slots, failure_budget=failure_budget, context=section.context)


def make_sampling(section: GeneratorSection) -> Sampling:
    """How a section has models asked."""
    names = ("temperature", "top_p", "system", "extra_body", "fields")
    return Sampling(**{name: getattr(section, name) for name in names})


def make_endpoints(section: GeneratorSection) -> list[OpenAIEndpoint]:
    """The servers of a section whose engine has some; one that is to be started is not, yet.

    Raises:
        ConfigError: Not enough is said, or too much.
    """
    connection: dict[str, Any] = {
        "model": section.model,
        "sampling": make_sampling(section),
        "timeout": section.timeout,
    }
    if section.endpoint and section.model_path:
        raise ConfigError("generator: endpoint uses a server that runs and model_path starts one; name one of the two")
    if section.engine == "sglang" and section.model_path:
        check_can_start(section)
        server, url = start_sglang(section)
        return [SGLangEndpoint(url=url, server=server, **connection)]
    if not section.endpoint:
        raise ConfigError("generator.endpoint (--endpoint URL) or generator.model_path (--model PATH) is needed")
    kind = GatewayEndpoint if section.engine == "sglang" else OpenAIEndpoint
    return [kind(url=url, api_key_env=section.api_key_env, **connection) for url in section.endpoint]
