"""SGLang on a CPU with our attention of decoding and with its own: tokens for a second of CPU time.

    python benchmarks/decoding.py models/smollm2-135m-instruct [--sglang .venv-sglang/bin/python] [--at-once 32]

Two servers on one machine, one after the other asked for the same: each prompt is read first, so that it is in the
cache, and then `--tokens` new ones of each are written. CPU time is that of all of a server's processes and threads,
which other work on the machine changes little; the ratio is the median of `--repeats` turns.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

_PORT, _START_SECONDS, _ANSWER_SECONDS = 31871, 300.0, 900.0
_OPTIONS = ["--device=cpu", "--attention-backend=torch_native", "--disable-overlap-schedule", "--dtype=float32"]
_OPTIONS += ["--max-total-tokens=40000", "--sleep-on-idle", "--log-level=warning", "--host=127.0.0.1"]


@contextmanager
def server(python: str, model: Path, port: int, plugins: str) -> Iterator[psutil.Process]:
    """One of SGLang, with some of its plugins; its processes."""
    more = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TORCHDYNAMO_DISABLE": "1", "SGLANG_PLUGINS": plugins}
    environment = {**os.environ, **more}
    environment.pop("PYTHONPATH", None)
    command = [python, "-m", "sglang.launch_server", f"--model-path={model}", f"--port={port}", *_OPTIONS]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        root = psutil.Process(process.pid)
        try:
            until = time.monotonic() + _START_SECONDS
            while not answers(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{command} does not answer")
                time.sleep(1)
            yield root
        finally:
            for each in [*root.children(recursive=True), root]:
                each.kill()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def cpu_seconds(root: psutil.Process) -> float:
    times = [each.cpu_times() for each in [root, *root.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


async def write(port: int, prompts: list[str], tokens: int) -> None:
    """Have so many tokens written after each prompt."""
    asked = {"temperature": 0.5, "max_new_tokens": tokens, "ignore_eos": True}
    async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
        url = f"http://127.0.0.1:{port}/generate"
        done = await asyncio.gather(
            *(client.post(url, json={"text": prompt, "sampling_params": asked}) for prompt in prompts)
        )
    for each in done:
        each.raise_for_status()


def speed(root: psutil.Process, port: int, prompts: list[str], tokens: int) -> float:
    """Tokens that are written for a second of CPU time."""
    asyncio.run(write(port, prompts, 1))
    before = cpu_seconds(root)
    asyncio.run(write(port, prompts, tokens))
    return len(prompts) * tokens / (cpu_seconds(root) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sglang", default=".venv-sglang/bin/python", help="Python that has SGLang")
    parser.add_argument("--at-once", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--words", type=int, default=250, help="of a prompt")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers end with this
    table = Table("at once", "its own", "ours", "ratio")
    words = Path(__file__).read_text().split()
    with ExitStack() as stack:
        ports = {"none": _PORT, "cpu_attention": _PORT + 1}
        roots = {
            plugins: stack.enter_context(server(arguments.sglang, arguments.model, port, plugins))
            for plugins, port in ports.items()
        }
        for count in arguments.at_once:
            prompts = [" ".join([str(number), *(words * 2)[: arguments.words]]) for number in range(count)]
            turns = [
                {name: speed(root, ports[name], prompts, arguments.tokens) for name, root in roots.items()}
                for _ in range(arguments.repeats)
            ]
            theirs, ours = (statistics.median(turn[name] for turn in turns) for name in ports)
            ratio = statistics.median(turn["cpu_attention"] / turn["none"] for turn in turns)
            table.add_row(f"{count}", f"{theirs:.0f}", f"{ours:.0f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
