"""The supervisor with real processes: a stand-in for the server that starts at once and does as it is told."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

from faults.world import is_alive
from servers import FAKE, QUICK, FakeServer, until, wait_until
from streamdocs.errors import ConfigError, EngineError
from streamdocs_server.supervision.supervisor import Limits, Supervisor


def test_it_is_started_once_and_stopped_in_order(tmp_path):
    server, pids = FakeServer(tmp_path), []

    async def during() -> None:
        await server.supervisor.start(server)
        await server.supervisor.ready()
        pids.extend(server.pids())
        assert all(map(is_alive, pids))

    server.run(during)
    assert not any(map(is_alive, pids))
    assert server.log.read_text() == "stopped in order\n"
    with pytest.raises(EngineError, match="was stopped"):
        asyncio.run(server.supervisor.ready())


def test_one_that_is_deaf_to_sigterm_is_killed_by_the_deadline(tmp_path):
    server, pids = FakeServer(tmp_path, "--deaf"), []

    async def during() -> None:
        pids.extend(server.pids())

    server.run(during)
    assert pids and not any(map(is_alive, pids))


def test_one_that_does_not_start_is_an_error_with_the_end_of_its_log(tmp_path):
    server = FakeServer(tmp_path, "--fail")
    with pytest.raises(EngineError, match=r"(?s)ended with status 3.*server\.log:\nout of memory: everything is lost$"):
        server.run(asyncio.Event().wait)
    late = FakeServer(tmp_path, "--slow", limits=Limits(start=0.5, stop=2))
    with pytest.raises(EngineError, match=r"was not ready within 0\.5 s"):
        late.run(asyncio.Event().wait)
    with pytest.raises(httpx.ConnectError):
        late.pids()


def test_no_such_command_and_no_such_folder_for_the_log(tmp_path):
    probe = FakeServer(tmp_path)
    with pytest.raises(EngineError, match=r"(?s)status 127.*/no/such/python: .*No such file"):
        asyncio.run(Supervisor(["/no/such/python"], {}, tmp_path / "log", QUICK).start(probe))
    with pytest.raises(ConfigError, match=r"/nowhere/log cannot be written"):
        asyncio.run(Supervisor(["true"], {}, tmp_path / "nowhere" / "log", QUICK).start(probe))


@pytest.mark.parametrize("victim", [0, 1], ids=["the server", "the launcher"])
def test_one_that_dies_is_started_again_and_leaves_nothing(tmp_path, victim):
    server, first = FakeServer(tmp_path), []

    async def during() -> None:
        first.extend(server.pids())
        os.kill([first[0], server.supervisor._process.pid][victim], signal.SIGKILL)
        await server.restarted()
        assert not set(first) & set(server.pids()) and not is_alive(first[0])

    server.run(during)
    if victim == 1 and is_alive(first[1]):  # which nobody else does when it is the launcher that is killed
        os.kill(first[1], signal.SIGKILL)
    assert victim == 1 or not is_alive(first[1])


@pytest.mark.parametrize("how", ["unhealthy", "frozen", "no progress"])
def test_one_that_hangs_is_started_again(tmp_path, how):
    server = FakeServer(tmp_path)

    async def during() -> None:
        first = server.pids()
        if how == "unhealthy":
            await asyncio.to_thread(httpx.post, server.url)
        elif how == "frozen":
            os.kill(first[0], signal.SIGSTOP)
        else:
            server.at_work = "3 of 8 answered"
        await server.restarted()
        assert not any(map(is_alive, first))
        server.at_work = None
        await asyncio.sleep(1.5)  # longer than a hang
        assert server.supervisor.restarts == 1

    server.run(during)


def test_work_that_goes_on_is_no_hang(tmp_path):
    server = FakeServer(tmp_path)

    async def during() -> None:
        for step in range(20):
            server.at_work = step
            await asyncio.sleep(0.1)
        assert server.supervisor.restarts == 0

    server.run(during)


def test_one_that_gets_on_is_no_hang_although_its_health_waits_behind_that(tmp_path):
    server = FakeServer(tmp_path)

    async def during() -> None:
        await asyncio.to_thread(httpx.post, server.url)  # from now on it says that it is not well
        for step in range(20):
            server.at_work = step
            await asyncio.sleep(0.1)
        assert server.supervisor.restarts == 0

    server.run(during)


def test_restarts_in_a_row_are_bounded_and_who_waits_is_told(tmp_path):
    server = FakeServer(tmp_path)

    async def during() -> None:
        server.supervisor._command.append("--fail")  # from now on it does not start
        os.kill(server.pids()[0], signal.SIGKILL)
        await until(lambda: not server.supervisor._settled.is_set())
        with pytest.raises(EngineError, match=r"(?s)ended with status 3.*everything is lost"):
            await server.supervisor.ready()
        assert server.supervisor.restarts == QUICK.failures

    server.run(during)


def test_a_restart_for_which_there_is_no_process_is_one_of_those_that_failed(tmp_path, monkeypatch):
    server = FakeServer(tmp_path, limits=replace(QUICK, failures=1000, most_back_off=0.05))

    async def during() -> None:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/no/such/python")
            os.kill(server.pids()[0], signal.SIGKILL)
            await until(lambda: server.supervisor.restarts >= 2)
            assert not server.supervisor._settled.is_set()
        await asyncio.wait_for(server.supervisor.ready(), 15)
        assert all(map(is_alive, server.pids()))

    server.run(during)


@pytest.mark.parametrize("what", ["process", "log"])
def test_who_waits_is_told_what_cannot_be_started(tmp_path, monkeypatch, what):
    (tmp_path / "log").mkdir()
    server = FakeServer(tmp_path / "log")
    said = {"process": "No process could be started", "log": r"log/server\.log cannot be written"}

    async def during() -> None:
        if what == "process":
            monkeypatch.setattr(sys, "executable", "/no/such/python")
        else:
            shutil.rmtree(tmp_path / "log")
        os.kill(server.pids()[0], signal.SIGKILL)
        await until(lambda: not server.supervisor._settled.is_set())
        with pytest.raises(EngineError, match=said[what]):
            await asyncio.wait_for(server.supervisor.ready(), 15)
        assert server.supervisor.restarts == QUICK.failures

    server.run(during)


def test_one_whose_log_somebody_deleted_is_started_again(tmp_path, caplog):
    server = FakeServer(tmp_path)

    async def during() -> None:
        server.log.unlink()
        os.kill(server.pids()[0], signal.SIGKILL)
        await server.restarted()

    server.run(during)
    assert "it cannot be read" in caplog.text and "Starting again" in caplog.text


def test_a_bug_while_it_is_watched_keeps_nobody_waiting(tmp_path):
    class Buggy(FakeServer):
        dead = False

        async def healthy(self) -> bool:
            return (self.dead and 1 // 0) or await super().healthy()

    server, pids = Buggy(tmp_path), []

    async def during() -> None:
        pids.extend(server.pids())
        server.dead = True
        os.kill(pids[0], signal.SIGKILL)
        await until(server.supervisor._watching.done)
        with pytest.raises(EngineError, match=r"not watched over any more.*ZeroDivisionError"):
            await asyncio.wait_for(server.supervisor.ready(), 15)

    server.run(during)
    assert not any(map(is_alive, pids))


def test_restarts_that_fail_late_are_bounded_too(tmp_path):
    server = FakeServer(tmp_path)

    async def during() -> None:
        server.supervisor._command.append("--slow")
        server.supervisor._limits = replace(QUICK, start=0.5, stable=0.3)
        os.kill(server.pids()[0], signal.SIGKILL)
        await until(lambda: not server.supervisor._settled.is_set())
        with pytest.raises(EngineError, match=r"was not ready within 0\.5 s"):
            await asyncio.wait_for(server.supervisor.ready(), 15)

    server.run(during)


PARENT = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = {path!r}
from servers import FakeServer
async def main():
    server = FakeServer(Path({folder!r}))
    await server.supervisor.start(server)
    print(*server.pids(), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan_however_the_sidecar_dies(tmp_path, number):
    code = PARENT.format(path=[str(FAKE.parent), *sys.path], folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_alive, pids))
        parent.send_signal(number)
        parent.wait(timeout=10)
    wait_until(lambda: not any(map(is_alive, pids)), seconds=5)
