"""The pool: what happens to requests when servers are slow, full, dead, wrong or back again."""

import asyncio
import json
import time
from collections import Counter

import httpx
import pytest
from anyio import CapacityLimiter

from servers import FAULTS, Mocked, chat, choice, models, request
from streamdocs.errors import EngineError
from streamdocs.recipes import Request
from streamdocs_server.engines import Answer, RequestRefusedError, Sampling
from streamdocs_server.engines.fit import fit
from streamdocs_server.engines.member import Member
from streamdocs_server.engines.openai import Load, OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.sglang import SGLangEndpoint


class Host:
    """A server behind a transport: answers chats by a script, the last step for ever."""

    def __init__(self, *script: httpx.Response | Exception, name: str = "m", context: int | None = None) -> None:
        self.script = list(script) or [chat()]
        self.name, self.context, self.dead, self.healthy = name, context, False, True
        self.load = Load(1, 0, 0)
        self.seconds = 0.0
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict] = []

    async def respond(self, received: httpx.Request) -> httpx.Response:
        path = received.url.path
        self.asked[path] += 1
        if self.dead:
            raise httpx.ConnectError("refused")
        if path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": self.name, "max_model_len": self.context}]})
        if path == "/model_info":
            return httpx.Response(200, json={"model_path": "/m", "served_model_name": self.name})
        if path == "/health":
            return httpx.Response(200 if self.healthy else 503)
        if path == "/v1/loads":
            load = {
                "num_running_reqs": self.load.running,
                "num_waiting_reqs": self.load.waiting,
                "num_used_tokens": self.load.used_tokens,
            }
            return httpx.Response(200, json={"loads": [load]})
        if path == "/tokenize":  # a word is a token
            messages = json.loads(received.content)["messages"]
            return httpx.Response(200, json={"count": sum(len(each["content"].split()) for each in messages)})
        await self.hold.wait()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self.bodies.append(json.loads(received.content))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)


class Fleet:
    """A pool over hosts, with a clock that does not run: what it would have slept is kept."""

    def __init__(self, *hosts: Host, slots: int = 64, kind: type[OpenAIEndpoint] = OpenAIEndpoint, **options) -> None:
        transport = [Mocked(host.respond) for host in hosts]
        endpoints = [kind(url=f"http://host{i}", transport=each) for i, each in enumerate(transport)]
        self.slept: list[float] = []
        self.slots = CapacityLimiter(slots)
        self.pool = Pool(endpoints, slots=self.slots, sleep=self.sleep, **options)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.001 if seconds else 0)

    async def __aenter__(self) -> Pool:
        await self.pool.model()
        return self.pool

    async def __aexit__(self, *_) -> None:
        await self.pool.close()


def generate(*hosts: Host, asked: Request | None = None, seed: int = 5, **options) -> tuple[Answer, Fleet]:
    fleet = Fleet(*hosts, **options)

    async def work() -> Answer:
        async with fleet as pool:
            return await pool.generate(asked or request(), seed)

    return asyncio.run(work()), fleet


async def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_missing_choices_are_asked_for_again_with_other_seeds():
    host = Host(chat(choice("a"), choice("b", "abort")), chat(choice("c")), chat(choice("d"), choice("e"), choice("f")))
    answer, fleet = generate(host, asked=request(n=4), seed=2**40 + 5)
    assert [completion.text for completion in answer.completions] == ["a", "c", "d", "e"]
    assert [(body["n"], body["seed"]) for body in host.bodies] == [(4, 5), (3, 6), (2, 7)]
    assert not fleet.pool.retries


@pytest.mark.parametrize(("fault", "cause"), FAULTS, ids=lambda value: repr(value)[:40])
def test_what_may_pass_is_sent_again_after_a_pause(fault, cause):
    answer, fleet = generate(Host(fault, fault, chat(choice("fine"))))
    assert answer.completions[0].text == "fine"
    assert fleet.pool.retries == {cause: 2}
    assert all(0 <= slept <= 60 for slept in fleet.slept)


@pytest.mark.parametrize(("header", "least", "most"), [("30", 30, 30), ("100000", 600, 600), ("soon", 0, 1)])
def test_retry_after_is_obeyed_within_reason(header, least, most):
    _, fleet = generate(Host(httpx.Response(429, headers={"Retry-After": header}), chat()))
    assert least <= max(fleet.slept) <= most


@pytest.mark.parametrize(
    ("fault", "mend"),
    [
        (httpx.ConnectError("refused"), "check that it runs"),
        (httpx.Response(500, text="boom"), "reachable, and fails: see its log"),
        (httpx.Response(429), r"turns requests away.*server\.max_in_flight"),
    ],
)
def test_a_server_that_never_answers_is_given_up_in_time(fault, mend):
    host = Host(fault)
    with pytest.raises(EngineError, match=rf"http://host0: .*failure 12 in a row.*{mend}"):
        generate(host, failure_budget=12)
    assert host.asked["/v1/chat/completions"] == 12


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>Log in</html>"),
        httpx.Response(200, json={"error": "Unexpected endpoint or method."}),
        httpx.Response(200, json={"response": "A text.", "done": True}),
        httpx.Response(200, json={"choices": [{"text": "A text."}]}),
        httpx.Response(200, json={"choices": []}),
        chat(choice(None)),
        chat(choice(None, "tool_calls")),
    ],
)
def test_answers_that_can_never_be_used_are_told_from_an_outage_before_they_cost_much(answer):
    async def work() -> None:
        host = Host(answer)
        host.seconds = 0.01
        async with Fleet(host) as pool:
            asked = [pool.generate(request(f"Document {i}."), i) for i in range(64)]
            for error in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(error, EngineError)
                assert "failure 4 in a row" in str(error)
                assert "reachable, but its answers cannot be used" in str(error)
            # As many as a server is given at first, and then one at a time.
            assert host.asked["/v1/chat/completions"] == 16 + 3

    asyncio.run(work())


def test_answers_that_cannot_be_used_for_a_while_are_an_outage_once_something_was_answered():
    async def work() -> None:
        broken = httpx.Response(200, text="<html>")
        async with Fleet(Host(chat(), *[broken] * 8, chat(choice("fine")))) as pool:
            await pool.generate(request(), 0)
            assert (await pool.generate(request(), 0)).completions[0].text == "fine"

    asyncio.run(work())


def test_what_is_waited_for_is_told(monkeypatch, caplog):
    monkeypatch.setattr("streamdocs_server.engines.pool._TELL_SECONDS", 0.02)
    caplog.set_level("INFO")

    async def work() -> None:
        host = Host()
        host.dead = True
        fleet = Fleet(host, failure_budget=10**6)
        starting = asyncio.create_task(fleet.pool.model())
        await until(lambda: caplog.text.count("waits for a server") > 1)
        assert "refused" in fleet.pool.waits_for
        host.dead = False
        await starting
        assert fleet.pool.waits_for == ""
        await fleet.pool.close()

    asyncio.run(work())
    assert "waits for a server, 0 s by now: http://host0: ClientConnectionError refused" in caplog.text


def test_pauses_grow_and_are_bounded(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.member.random.uniform", lambda least, most: most)
    fleet = Fleet(Host(httpx.Response(500)), failure_budget=12)
    with pytest.raises(EngineError):
        asyncio.run(_generate(fleet))
    assert fleet.slept[1:] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


async def _generate(fleet: Fleet) -> Answer:
    async with fleet as pool:
        return await pool.generate(request(), 0)


def test_a_server_that_is_not_there_at_start_is_waited_for():
    async def work() -> None:
        host = Host()
        host.dead = True
        fleet = Fleet(host, failure_budget=10**6)
        starting = asyncio.create_task(fleet.pool.model())
        await until(lambda: len(fleet.slept) > 20)
        assert not starting.done()
        host.dead = False
        assert await starting == ("m", "")
        await fleet.pool.close()

    asyncio.run(work())


def test_many_requests_that_fail_together_are_one_failure():
    async def work() -> None:
        host = Host(httpx.ReadError("reset"))
        host.hold.clear()
        fleet = Fleet(host, failure_budget=3)
        async with fleet as pool:
            waiting = [asyncio.create_task(pool.generate(request(f"Document {i}."), i)) for i in range(16)]
            await until(lambda: len(pool.members[0].asking) == 16)
            host.script = [httpx.ReadError("reset")] * 16 + [chat()]
            host.hold.set()
            assert len(await asyncio.gather(*waiting)) == 16
            assert pool.retries == {"connection": 16}

    asyncio.run(work())


def test_a_dead_server_is_left_out_and_taken_back(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.pool._RARE_LOOK_SECONDS", 0.05)

    async def work() -> None:
        first, second = Host(), Host()
        fleet = Fleet(first, second, failure_budget=10**6)
        async with fleet as pool:
            await until(lambda: all(member.up for member in pool.members))

            async def ask(count: int) -> tuple[int, int]:
                before = first.asked["/v1/chat/completions"], second.asked["/v1/chat/completions"]
                await asyncio.gather(*(pool.generate(request(f"Document {i}."), i) for i in range(count)))
                after = first.asked["/v1/chat/completions"], second.asked["/v1/chat/completions"]
                return after[0] - before[0], after[1] - before[1]

            assert await ask(40) == (20, 20)
            first.dead = True
            assert sum(await ask(40)) >= 40
            await until(lambda: not pool.members[0].up)
            assert await ask(40) == (0, 40)
            first.dead = False
            await until(lambda: pool.members[0].up)
            shares = await ask(40)  # in proportion to what each was found to take so far
            assert sum(shares) == 40 and min(shares) > 0

    asyncio.run(work())


def test_requests_of_one_document_go_to_one_server():
    async def work() -> None:
        hosts = [Host(), Host(), Host()]
        async with Fleet(*hosts) as pool:
            await until(lambda: all(member.up for member in pool.members))

            async def document(number: int) -> None:
                for cut in range(6):
                    await pool.generate(request(f"Document {number}, cut {cut}."), cut)

            await asyncio.gather(*(document(number) for number in range(9)))
        for host in hosts:
            documents = Counter(body["messages"][0]["content"].split(",")[0] for body in host.bodies)
            assert len(documents) == 3 and set(documents.values()) == {6}

    asyncio.run(work())


def test_a_request_that_breaks_every_server_is_refused_in_the_end():
    class Poisoned(Host):
        async def respond(self, received: httpx.Request) -> httpx.Response:
            if b"poison" in received.content:
                self.asked["poison"] += 1
                raise httpx.ReadError("reset")
            return await super().respond(received)

    async def work() -> None:
        host = Poisoned()
        async with Fleet(host) as pool:
            poisoned = asyncio.create_task(pool.generate(request("poison"), 0))
            while not poisoned.done():
                await pool.generate(request(), 0)
            with pytest.raises(RequestRefusedError, match="Failed again and again while others were answered"):
                await poisoned
            assert host.asked["poison"] == 10

    asyncio.run(work())


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_meets_overloaded_servers_is_never_refused_for_it(status):
    class Unlucky(Host):
        async def respond(self, received: httpx.Request) -> httpx.Response:
            if b"unlucky" in received.content and self.asked["unlucky"] < 30:
                self.asked["unlucky"] += 1
                await asyncio.sleep(0.002)
                return httpx.Response(status)
            return await super().respond(received)

    async def work() -> None:
        host = Unlucky()
        async with Fleet(host) as pool:
            unlucky = asyncio.create_task(pool.generate(request("unlucky"), 0))
            while not unlucky.done():
                await pool.generate(request(), 0)
            assert (await unlucky).completions and host.asked["unlucky"] == 30

    asyncio.run(work())


def test_a_request_that_is_turned_away_for_ever_is_refused_in_the_end(monkeypatch):
    class Crashing(Host):
        """Behind a proxy, which says 503 while it starts again."""

        async def respond(self, received: httpx.Request) -> httpx.Response:
            if b"poison" in received.content:
                await asyncio.sleep(0.002)
                return httpx.Response(503)
            return await super().respond(received)

    async def work() -> None:
        async with Fleet(Crashing()) as pool:
            poison = asyncio.create_task(pool.generate(request("poison"), 0))
            while not poison.done():
                await pool.generate(request(), 0)
            with pytest.raises(RequestRefusedError, match="again and again while others"):
                await poison

    monkeypatch.setattr("streamdocs_server.engines.pool._MOST_SECONDS", 0.2)
    asyncio.run(work())


def test_an_outage_in_which_all_are_turned_away_is_held_against_none(monkeypatch):
    class Maintained(Host):
        closed, let_go = False, asyncio.Event()

        async def respond(self, received: httpx.Request) -> httpx.Response:
            if b"early" in received.content:
                await self.let_go.wait()
            if received.method == "POST" and self.closed:
                return httpx.Response(503)
            return await super().respond(received)

    async def work() -> None:
        host = Maintained()
        async with Fleet(host, failure_budget=1000) as pool:
            early = asyncio.create_task(pool.generate(request("early"), 0))
            await until(lambda: pool.members[0].asking)
            await pool.generate(request(), 0)  # before the outage
            host.closed = True
            host.let_go.set()
            await until(lambda: pool.retries["overloaded"] > 5)
            host.closed = False
            assert (await early).completions

    monkeypatch.setattr("streamdocs_server.engines.pool._MOST_SECONDS", 0.0)
    asyncio.run(work())


def test_what_an_overloaded_server_turned_away_comes_back_a_few_at_a_time():
    class Gateway(Host):
        """Works on eight requests at once, and turns others away."""

        working = 0

        async def respond(self, received: httpx.Request) -> httpx.Response:
            if received.method == "POST" and self.working == 8:
                return httpx.Response(429)
            self.working += received.method == "POST"
            try:
                return await super().respond(received)
            finally:
                self.working -= received.method == "POST"

    async def work() -> None:
        host = Gateway()
        host.hold.clear()
        async with Fleet(host) as pool:
            waiting = [asyncio.create_task(pool.generate(request(f"Document {i}."), i)) for i in range(16)]
            await until(lambda: pool.retries["overloaded"] == 8 and pool.members[0].up)
            assert pool.members[0].limit == 8
            await asyncio.sleep(0.1)
            assert pool.retries["overloaded"] == 8  # none is sent before one of those that are worked on is answered
            host.hold.set()
            assert len(await asyncio.gather(*waiting)) == 16

    asyncio.run(work())


REFUSAL = httpx.Response(400, json={"error": {"message": "too long"}})


def test_a_refused_document_is_told_from_a_server_that_refuses_everything():
    with pytest.raises(RequestRefusedError, match="too long"):
        generate(Host(REFUSAL, chat()))  # a harmless one was answered
    host = Host(REFUSAL)
    with pytest.raises(EngineError, match=r"Two short sentences are refused like any document.*too long") as caught:
        generate(host)
    assert not isinstance(caught.value, RequestRefusedError)
    assert len(host.bodies) == 2


def test_too_many_refused_documents_in_a_row_stop_it():
    async def work() -> None:
        host = Host(chat(), REFUSAL)
        async with Fleet(host, failure_budget=4) as pool:
            await pool.generate(request(), 0)
            for _ in range(3):
                with pytest.raises(RequestRefusedError):
                    await pool.generate(request(), 0)
            with pytest.raises(EngineError, match="4 documents in a row were refused"):
                await pool.generate(request(), 0)
        assert len(host.bodies) == 5  # once something was answered, no harmless document is tried any more

    asyncio.run(work())


@pytest.mark.parametrize("kind", [OpenAIEndpoint, SGLangEndpoint])
def test_another_model_after_an_outage_is_refused_with_both_names(kind):
    async def work() -> None:
        host = Host(httpx.ReadError("reset"), chat(), name="a")
        fleet = Fleet(host, kind=kind)
        async with fleet as pool:
            pool.members[0].endpoint.model = None  # not configured
            host.name = "b"
            with pytest.raises(EngineError, match=r"serves 'b', and this run began with 'a'"):
                await pool.generate(request(), 0)

    asyncio.run(work())


def test_one_of_two_servers_with_another_model_is_left_out(caplog):
    async def work() -> None:
        fleet = Fleet(Host(name="a"), Host(name="b"))
        async with fleet as pool:
            await until(lambda: any(member.refused for member in pool.members))
            wrong = next(member for member in pool.members if member.refused)
            await asyncio.gather(*(pool.generate(request(), i) for i in range(8)))
            assert not wrong.up and "serves" in wrong.last_error

    asyncio.run(work())
    assert "is left out" in caplog.text and "'a'" in caplog.text and "'b'" in caplog.text


def test_a_hanging_server_gives_back_what_it_has(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.pool._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("streamdocs_server.engines.pool._RARE_LOOK_SECONDS", 0.05)
    monkeypatch.setattr("streamdocs_server.engines.sglang._HANG_SECONDS", 0.2)

    async def work() -> None:
        first, second = Host(), Host()
        async with Fleet(first, second, kind=SGLangEndpoint, failure_budget=10**6) as pool:
            await until(lambda: all(member.up for member in pool.members))
            first.hold.clear()
            waiting = [asyncio.create_task(pool.generate(request(), i)) for i in range(8)]
            await until(lambda: second.asked["/v1/chat/completions"] == 4)
            first.healthy = False
            await asyncio.gather(*waiting)
            assert pool.retries["hang"] >= 4 and not pool.members[0].up
            assert second.asked["/v1/chat/completions"] == 8
            first.hold.set()
            first.healthy = True
            await until(lambda: pool.members[0].up)

    asyncio.run(work())


@pytest.mark.parametrize("sign", ["tokens", "an answer"])
def test_a_server_that_answers_no_health_check_while_it_gets_on_keeps_what_it_has(monkeypatch, sign):
    """As one does that reads a long prompt."""
    monkeypatch.setattr("streamdocs_server.engines.pool._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("streamdocs_server.engines.pool._RARE_LOOK_SECONDS", 0.02)
    monkeypatch.setattr("streamdocs_server.engines.sglang._HANG_SECONDS", 0.3)

    async def work() -> None:
        host = Host()
        async with Fleet(host, kind=SGLangEndpoint) as pool:
            await pool.generate(request(), 0)
            host.hold.clear()
            host.healthy = False
            waiting = [asyncio.create_task(pool.generate(request(f"Document {i}."), i)) for i in range(8)]
            for step in range(20):  # three times as long as a hang
                await asyncio.sleep(0.05)
                if sign == "tokens":
                    host.load = Load(8, 0, step)
                else:
                    host.hold.set()
                    await pool.generate(request(), step)
                    host.hold.clear()
            host.hold.set()
            await asyncio.gather(*waiting)
            assert not pool.retries and pool.members[0].up

    asyncio.run(work())


def test_a_load_that_is_not_told_in_time_is_no_failure(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.connection._CONTROL_SECONDS", 0.05)

    class Slow(Host):
        async def respond(self, received: httpx.Request) -> httpx.Response:
            if received.url.path == "/v1/loads":
                await asyncio.sleep(60)
            return await super().respond(received)

    async def work() -> None:
        async with Fleet(Slow(), kind=SGLangEndpoint) as pool:
            assert await pool.members[0].endpoint.load() is None
            await pool.generate(request(), 0)
            assert not pool.retries and pool.members[0].up

    asyncio.run(work())


def test_cancelled_requests_are_taken_back_from_the_server():
    async def work() -> None:
        host = Host()
        host.hold.clear()
        async with Fleet(host) as pool:
            asking = asyncio.create_task(pool.generate(request(), 0))
            await until(lambda: pool.members[0].asking)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert not pool.members[0].asking and not pool.retries

    asyncio.run(work())


def test_the_limit_follows_queue_and_cache():
    async def limit_after(*loads: Load, busy: int = 16, answers: int = 16) -> float:
        member = Member(OpenAIEndpoint(url="http://host"))
        member.load = Load(1, 0, 0)
        member.asking = {asyncio.get_running_loop().create_future() for _ in range(busy)}
        for _ in range(answers):
            member.answered()
        for load in loads:
            member.adapt(load)
        return round(member.limit, 1)

    async def work() -> None:
        # All are worked on, none waits, and there is room in the cache: half-way to as many as fit, at most twice.
        assert await limit_after(Load(16, 0, 0, 0.1)) == 32
        assert await limit_after(Load(16, 0, 0, 0.2)) == 32
        assert await limit_after(Load(16, 0, 0, 0.5)) == 20.2
        assert await limit_after(Load(16, 0, 0, 0.8)) == 16
        assert await limit_after(Load(16, 0, 0, 1.0)) == 14.3
        # A report from before it began says nothing.
        assert await limit_after(Load(0, 0, 0, 0.0), Load(8, 8, 0, 0.8)) == 10
        # A few wait, so that it never runs dry; half of them wait; it has hardly begun.
        assert await limit_after(Load(14, 2, 0, 0.8)) == 16
        assert await limit_after(Load(8, 8, 0, 0.8)) == 10
        assert await limit_after(Load(0, 1000, 0, 0.0)) == 8
        # Not before as many were answered; not if it is not asked for as much.
        assert await limit_after(Load(16, 0, 0, 0.2), answers=15) == 16
        assert await limit_after(Load(16, 0, 0, 0.2), busy=4) == 16
        # The same old report does not count twice.
        assert await limit_after(*[Load(8, 8, 0, 0.8)] * 5) == 10

    asyncio.run(work())


def test_slots_follow_what_the_servers_take_below_the_ceiling(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.pool._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("streamdocs_server.engines.pool._RARE_LOOK_SECONDS", 0.02)

    async def work() -> None:
        first, second = Host(), Host()
        first.seconds = second.seconds = 0.01
        fleet = Fleet(first, second, kind=SGLangEndpoint, slots=100)
        async with fleet as pool:
            await until(lambda: fleet.slots.total_tokens == 32)
            going = True

            async def ask(number: int) -> None:
                while going:
                    async with fleet.slots:
                        await pool.generate(request(), number)

            asking = [asyncio.create_task(ask(i)) for i in range(200)]
            await until(lambda: fleet.slots.total_tokens == 100)  # nobody's queue is ever long
            assert fleet.slots.borrowed_tokens <= 100 and fleet.slots.statistics().tasks_waiting >= 100
            first.load = second.load = Load(running=10, waiting=40, used_tokens=0)
            await until(lambda: fleet.slots.total_tokens < 40)
            going = False
            await asyncio.gather(*asking)

    asyncio.run(work())


def test_an_overloaded_server_is_given_half(monkeypatch):
    fleet = Fleet(Host(httpx.Response(429), httpx.Response(503), chat()))
    asyncio.run(_generate(fleet))
    assert 4 <= fleet.pool.members[0].limit <= 5  # 16, 8, 4, and an answer


SENTENCES = [f"Sentence number {i} of this text has nine words." for i in range(400)]


def test_a_document_that_is_too_long_is_cut_between_sentences():
    host = Host(context=1000)

    async def work(asked: Request) -> Request:
        async with Fleet(host) as pool:
            return await pool.fit(asked)

    short = request(" ".join(SENTENCES[:10]))
    assert asyncio.run(work(short)) == short and not host.asked["/tokenize"]
    fitted = asyncio.run(work(request(" ".join(SENTENCES))))
    sentences = fitted.fields["document"].count(".")
    assert fitted.fields["document"] == " ".join(SENTENCES[: len(fitted.fields["document"].split(". "))])
    # 1,000 less the 64 that are generated: 103 sentences of nine words, and what was left out for safety.
    assert 90 <= sentences <= 103 and 1 <= host.asked["/tokenize"] <= 8


def test_a_thought_keeps_what_is_next_to_its_place():
    fields = {"before": " ".join(SENTENCES[:200]), "after": " ".join(SENTENCES[200:])}
    asked = Request(kind="thought", template="{before} <here> {after}", fields=fields, n=1, max_tokens=64)

    async def work() -> Request:
        async with Fleet(Host(context=1000)) as pool:
            return await pool.fit(asked)

    fitted = asyncio.run(work())
    before, after = fitted.fields["before"], fitted.fields["after"]
    assert before.endswith(SENTENCES[199]) and before.startswith("Sentence number")
    assert after.startswith(SENTENCES[200]) and after.endswith("nine words.")
    assert 40 <= before.count(".") <= 55 and 40 <= after.count(".") <= 55


@pytest.mark.parametrize("document", ["word " * 10**5, "x" * 10**6, "", "é" * 5000, "一" * 5000])
def test_any_document_is_cut_to_fit(document):
    async def work() -> Request:
        async with Fleet(Host(context=300), context=200) as pool:
            return await pool.fit(request(document))

    fitted = asyncio.run(work()).fields["document"]
    assert document.startswith(fitted.rstrip()) and len(fitted.split()) <= 200 - 64 - 1


@pytest.mark.parametrize("context", [40, 64, 80, 96])
def test_instructions_that_leave_no_room_for_a_document_stop_it(context):
    async def work() -> None:
        # What the server could read is more than what it is given.
        async with Fleet(Host(context=32768), context=context) as pool:
            with pytest.raises(EngineError, match=rf"take 1 tokens.* up to 64 \(recipe.*in the {context} .*Raise") as e:
                await pool.fit(request(" ".join(SENTENCES)))
            assert not isinstance(e.value, RequestRefusedError)

    asyncio.run(work())


def test_a_request_without_a_document_is_asked_as_it_is():
    asked = Request(kind="thought", template="Go on.", fields={"before": "", "after": ""}, n=1, max_tokens=64)

    async def work() -> Request:
        async with Fleet(Host(context=70)) as pool:
            return await pool.fit(asked)

    assert asyncio.run(work()) == asked


def test_a_document_of_which_nothing_fits_is_refused_and_no_other():
    async def count(asked: Request) -> int:
        return sum(10**4 if character == "\u2603" else 1 for character in asked.prompt)

    assert asyncio.run(fit(request("word " * 100), 200, count)).fields["document"].startswith("word word")
    with pytest.raises(RequestRefusedError, match="Not one word of the document"):
        asyncio.run(fit(request("\u2603" * 100), 200, count))


def test_the_system_prompt_takes_room_too():
    async def work() -> Request:
        transport = Mocked(Host(context=1000).respond)
        sampling = Sampling(system="Be brief. " * 200)
        endpoint = OpenAIEndpoint(url="http://host", transport=transport, sampling=sampling)
        pool = Pool([endpoint], slots=CapacityLimiter(1))
        await pool.model()
        fitted = await pool.fit(request(" ".join(SENTENCES[:80])))
        await pool.close()
        return fitted

    assert 0 < len(asyncio.run(work()).fields["document"].split()) <= 1000 - 64 - 400


def test_without_a_context_nothing_is_cut():
    async def work() -> Request:
        async with Fleet(Host()) as pool:
            return await pool.fit(asked)

    asked = request("word " * 10**5)
    assert asyncio.run(work()) is asked


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(501), httpx.Response(200, json={"error": ""})])
def test_where_nobody_counts_tokens_half_the_bytes_are_the_estimate(answer):
    class Uncounting(Host):
        async def respond(self, received: httpx.Request) -> httpx.Response:
            if received.url.path == "/tokenize":
                return httpx.Response(answer.status_code, content=answer.content)
            return await super().respond(received)

    async def work() -> Request:
        async with Fleet(Uncounting(context=2000)) as pool:
            fitted = await pool.fit(request(" ".join(SENTENCES)))
            assert not pool.retries
            return fitted

    assert 2000 < len(asyncio.run(work()).fields["document"]) < 2 * 2000


def test_a_server_that_counts_is_asked_again_when_it_fails_to():
    """An estimate would have documents cut to half of what fits, for good."""

    class Restarting(Host):
        dying = False

        async def respond(self, received: httpx.Request) -> httpx.Response:
            if received.url.path == "/tokenize" and self.dying:
                self.dying = False
                return httpx.Response(502)
            return await super().respond(received)

    async def work() -> None:
        host, fitting = Restarting(context=2000), request(" ".join(SENTENCES[:200]))
        async with Fleet(host) as pool:
            for host.dying in (False, True):
                assert await pool.fit(fitting) == fitting
            assert pool.retries == {"server error": 1}
        host.dying = True
        async with Fleet(host, kind=SGLangEndpoint) as pool:  # known to count, whatever it says at first
            assert await pool.fit(fitting) == fitting
            assert pool.retries == {"server error": 1}

    asyncio.run(work())


def test_a_server_that_does_not_count_has_not_answered_by_that():
    class Broken(Host):
        """Knows its models and nothing else."""

        async def respond(self, received: httpx.Request) -> httpx.Response:
            return httpx.Response(500) if received.method == "POST" else await super().respond(received)

    async def work() -> None:
        async with Fleet(Broken(context=1000), failure_budget=5) as pool:
            generating = asyncio.create_task(pool.generate(request(), 0))
            while not generating.done():
                await asyncio.wait([asyncio.create_task(pool.fit(request(" ".join(SENTENCES))))], timeout=0.1)
            with pytest.raises(EngineError, match="failure 5 in a row"):
                await generating

    asyncio.run(work())


def test_names_of_models_are_all_told_when_none_is_served():
    with pytest.raises(EngineError, match="Set `model` to one that is served: 'first', 'second'"):

        class Several(Host):
            async def respond(self, received: httpx.Request) -> httpx.Response:
                return models("first", "second")

        generate(Several())
