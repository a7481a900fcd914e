"""One OpenAI-compatible server: ``/v1/models``, ``/v1/chat/completions`` and, where there is one, ``/tokenize``."""

import logging
import re
from typing import Any, NamedTuple

from streamdocs.errors import EngineError, some
from streamdocs.recipes import Request
from streamdocs_server._base.http import Transport
from streamdocs_server.engines.answers import Chat, Choice, Count, Models, PromptDetails, Usage
from streamdocs_server.engines.base import Answer, Completion, RequestRefusedError, Sampling, TryAgainError
from streamdocs_server.engines.connection import Connection, NotThereError
from streamdocs_server.engines.fields import Fields, messages

log = logging.getLogger(__name__)

_MOST_NAME = 1024
_DEFAULT_SAMPLING = Sampling()
#: How servers say that a request is longer than what a model can read, and how many tokens that is.
_TOO_LONG = re.compile(r"context.{0,20}(?:length|window|size)|exceed_context|prompt is too long", re.IGNORECASE)
_READABLE = re.compile(
    r"context (?:length|window|size)\D{0,20}([0-9]{3,8}) tokens|([0-9]{3,8}) maximum context|\"n_ctx\": ?([0-9]{3,8})",
    re.IGNORECASE,
)
#: So many prompts of as many tokens, the longest with so many times the characters of the shortest, were cut.
_CUT_ALIKE, _CUT_RATIO, _CUT_LEAST = 3, 1.5, 256


class Load(NamedTuple):
    """Requests that are being answered and that wait, and tokens that those in progress hold, over all replicas.

    ``cache_usage`` is the share of the cache that those tokens take, in the replica where it is largest.
    """

    running: int
    waiting: int
    used_tokens: int
    cache_usage: float = 0.0


class _Longest(NamedTuple):
    """Of the prompts with most tokens: how many those are, and the least and most characters that they have."""

    tokens: int
    sizes: list[int]


class OpenAIEndpoint:
    """The server at ``url``. Everything is asked once; a pool asks again.

    - ``model``: the name to ask for; None takes the one model that the server has.
    - ``url``, ``api_key_env``, ``timeout``, ``transport``: as of :class:`Connection`, with what it raises.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str | None = None,
        sampling: Sampling = _DEFAULT_SAMPLING,
        api_key_env: str | None = None,
        timeout: float = 600.0,
        transport: Transport | None = None,
    ) -> None:
        self._http = Connection(url, api_key_env=api_key_env, timeout=timeout, transport=transport)
        self.url = self._http.url
        self.model = model
        #: Tokens that prompt and generation may have together; None where the server does not say.
        self.context: int | None = None
        self._fields = Fields(self.url, sampling)
        self._system = sampling.system
        self._counts = False  # whether it is known to count tokens
        self._lists = True  # whether it tells its models
        self._told: set[str] = set()
        self._longest = _Longest(0, [])

    async def identify(self) -> tuple[str, str]:
        """Name and revision of the served model. The protocol tells no revision, so that is ``""``.

        Raises :class:`~streamdocs.errors.EngineError` if the configured model is not served, or if none is configured
        and several are served, or the server does not tell.
        """
        if (listed := await self._models()) is None:
            assert self.model is not None
            self._check_name(self.model)
            return self.model, ""
        if self.model is None and len(listed.data) == 1:
            self.model = listed.data[0].id
        served = listed.named(self.model) if self.model else None
        if self.model is None or served is None:
            problem = f"has no model {self.model!r}" if self.model else "serves several models and none is configured"
            names = some([repr(model.id[:200]) for model in listed.data], 20)
            raise EngineError(self._http.hide(f"{self.url} {problem}. Set `model` to one that is served: {names}."))
        self._check_name(self.model)
        self.context = served.max_model_len or self.context
        return self.model, ""

    async def healthy(self) -> bool:
        """Whether it can generate, as far as it says without being asked to."""
        return True

    async def load(self) -> Load | None:
        """How busy it is by its own account; None where it does not say."""
        return None

    async def ask(self, request: Request, n: int, seed: int) -> Answer:
        """At least one of ``n`` completions.

        A choice that was aborted or filtered, or has neither content nor reasoning, is left out; an answer of such
        choices alone is malformed, or refused where all of them were filtered. Reasoning without content is "". Where
        the server reports no usage, four characters count as a token.

        Raises :class:`RequestRefusedError` on 400, 413, 422 and filtered content, and
        :class:`~streamdocs.errors.EngineError` on any other status (401, 403, 404): the configuration is wrong.
        """
        chat = await self._chat(request, n, seed)
        usage = chat.usage or Usage()
        total, choices = usage.completion_tokens, len(chat.choices)
        whole = total is not None and total < request.max_tokens * choices
        completions = []
        for index, choice in enumerate(chat.choices):
            ended, text = choice.ended(whole), choice.message.text
            if text is None and (choice.ran_out or choice.message.reasoned):
                text = ""
            if text is None or ended in (None, "filtered"):
                continue
            # Usage is for all choices together; an even split has the right sum.
            tokens = _estimate(text) if total is None else (total + index) // choices
            completions.append(
                Completion(text, "stop" if ended == "stop" else "length", tokens, choice.message.reasoned)
            )
        if not completions:
            self._complain(chat.choices, whole)
        if any(each.reasoned and not each.text.strip() for each in completions):
            self._tell_once(
                "reasoning",
                f"{self.url} answers with reasoning and without content, which is no text to keep. Switch it off, "
                "as by generator.extra_body: {chat_template_kwargs: {enable_thinking: false}}, or leave room for both "
                f"(recipe.max_tokens, now {request.max_tokens:,})",
            )
        if usage.prompt_tokens is not None:
            self._look_whether_cut(usage.prompt_tokens, len(request.prompt))
        prompt_tokens = _estimate(request.prompt) if usage.prompt_tokens is None else usage.prompt_tokens
        details = usage.prompt_tokens_details or PromptDetails()
        return Answer(tuple(completions), prompt_tokens, details.cached_tokens or 0)

    def body(self, request: Request, n: int, seed: int) -> dict[str, Any]:
        """What is sent: the chat template is the server's."""
        return self._fields.body(self.model, request, n, seed)

    def size(self, request: Request) -> int:
        """Bytes of the messages that are sent."""
        return sum(len(each["content"].encode(errors="surrogatepass")) for each in messages(request, self._system))

    async def count(self, request: Request) -> int | None:
        """Tokens of the whole prompt as the server counts them; None where it does not say.

        Some servers answer 200 or 500 to a path that they do not know, and some have a ``/tokenize`` of their own. From
        one that has counted before that is a failure: :class:`~streamdocs_server.engines.base.TryAgainError`.
        """
        question = {"model": self.model, "messages": messages(request, self._system)}
        try:
            counted = (await self._http.control("POST", "/tokenize", question, Count)).count
        except EngineError as error:
            another_path = "malformed answer", "server error"
            if isinstance(error, TryAgainError) and (self._counts or error.cause not in another_path):
                raise
            return None
        self._counts = True
        return counted

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _models(self) -> Models | None:
        """What is served; None where the server does not tell, and the run file does."""
        if not self._lists:
            return None
        try:
            return await self._http.api("GET", "/models", None, Models, 30.0)
        except (NotThereError, TryAgainError) as error:
            if isinstance(error, TryAgainError) and error.cause != "malformed answer":
                raise
            said = str(error).rstrip(".")
            if self.model is None:
                name = "If the URL is right, set generator.model (--model-name) to the name under which it is served."
                raise EngineError(f"{said}. {name}") from error
            self._lists = False
            self._tell_once("models", f"{said}. It is taken to serve {self.model!r}, as the run file says")
            return None

    async def _chat(self, request: Request, n: int, seed: int) -> Chat:
        """The answer to a request, sent again without what the server refuses by name."""
        while True:
            sent = self._fields.names
            try:
                chat = await self._http.api("POST", "/chat/completions", self.body(request, n, seed), Chat)
            except RequestRefusedError as error:
                if self._fields.learn(sent, error.said):
                    continue
                if _TOO_LONG.search(error.said):
                    raise self._too_long(error) from error
                raise
            self._fields.keep(sent)
            return chat

    def _too_long(self, error: RequestRefusedError) -> RequestRefusedError:
        told = _READABLE.search(error.said)
        tokens = int(next(filter(None, told.groups()))) if told else None
        if tokens and not self.context:
            self.context = tokens
            does = f"from now on documents are cut to {tokens:,} tokens; generator.context does so from the start"
        else:
            most = f"less than {self.context:,}" if self.context else "the number of tokens that it can read"
            does = f"set generator.context to {most}, and longer documents are cut"
        self._tell_once("context", f"{error}: {does}")
        return RequestRefusedError(f"{error}: {does}.", "too long for the context", error.said)

    def _complain(self, choices: list[Choice], whole: bool) -> None:
        """Raise what an answer without a completion is."""
        if {choice.ended(whole) for choice in choices} == {"filtered"}:
            raise RequestRefusedError(f"{self.url} filtered the content of every choice.", "filtered by the server")
        ended = repr({choice.finish_reason for choice in choices})[:300]
        raise self._http.try_again("malformed answer", f"no choice has content and ended by itself ({ended})")

    def _look_whether_cut(self, tokens: int, characters: int) -> None:
        """Say once that a server cuts prompts without a word: the longest have one and the same number of tokens."""
        if tokens > self._longest.tokens:
            self._longest = _Longest(tokens, [])
        if tokens != self._longest.tokens or tokens < _CUT_LEAST:
            return
        sizes = self._longest.sizes
        sizes[:] = sorted({*sizes, characters})
        if len(sizes) >= _CUT_ALIKE and sizes[-1] > _CUT_RATIO * sizes[0]:
            self._tell_once(
                "cut",
                f"{self.url} counts {tokens:,} tokens in prompts of {sizes[0]:,} to {sizes[-1]:,} characters: it seems "
                f"to cut what is longer. Set generator.context to at most {tokens:,}, or have the server read more: "
                "then documents are cut between sentences, and that is recorded",
            )
        del sizes[1 : -_CUT_ALIKE + 1]  # its ends are enough

    def _tell_once(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", text)

    def _check_name(self, name: str) -> None:
        """A model's name is part of every key in the store, of fingerprints and of the log.

        Raises :class:`~streamdocs.errors.EngineError` where it should be in none of them.
        """
        if self._http.hide(name) != name or len(name) > _MOST_NAME:
            raise EngineError(
                f"{self.url} serves a model whose name holds the API key, or has more than {_MOST_NAME} characters."
            )


def _estimate(text: str) -> int:
    """Tokens, where the server does not count them."""
    return -(-len(text) // 4)
