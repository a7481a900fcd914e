"""Sidecars on a Ray cluster: actors, one a GPU, which are begun again wherever they die.

    pip install '.[server,ray]'        # on all nodes
    ray job submit --working-dir . -- python server/deploy/ray_job.py run.yaml --fill --model Qwen/Qwen3-8B

What it does not know goes to each ``streamdocs-server``: ``--model`` starts an SGLang on the GPUs of its actor,
``--endpoint`` asks one that runs (with ``--gpus 0 --sidecars 1``), ``--fill`` writes all that a trainer will read
before there is one. It returns once all rounds of the run file are done, with 1 where no sidecar lived to see that.
"""

import argparse
import subprocess
import sys
import time

import ray

from streamdocs_server.supervision import launcher

#: Failures of a sidecar in a row, after which its actor gives up. One that ran for so many seconds begins a row.
_MOST_FAILURES = 5
_STABLE_SECONDS = 600.0
#: Its exit status for options that it does not know.
_USAGE = 2


def keep_up(command: list[str], pause: float = 2.0) -> None:
    """Run a command until it ends well, again after ``pause`` seconds where it fails, and twice as many each time.

    Raises RuntimeError where it fails again and again.
    """
    # The launcher kills it when this process dies: nobody would know of it any more.
    command = [sys.executable, launcher.__file__, *command]
    failures = 0
    while True:
        began = time.monotonic()
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            status = process.wait()
        if status == 0:
            return
        failures = 1 if time.monotonic() - began > _STABLE_SECONDS else failures + 1
        if failures == _MOST_FAILURES or status == _USAGE:
            raise RuntimeError(f"streamdocs-server ended with {status}, {failures} times in a row by now")
        time.sleep(pause * 2 ** (failures - 1))


# Where a node, an actor or Ray's worker dies, Ray makes the actor again and asks it again.
@ray.remote(max_restarts=-1, max_task_retries=-1)
class Sidecar:
    """One sidecar, with the SGLang that it may start."""

    def serve(self, arguments: list[str]) -> None:
        """Return once it has ended well; raises as :func:`keep_up`."""
        keep_up([sys.executable, "-m", "streamdocs_server", *arguments])


def main() -> int:
    """Start the sidecars and wait for them; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", help="the run file, at the same place on all nodes, or in the job's working directory")
    parser.add_argument("--gpus", type=float, default=1, help="of each sidecar (1)")
    parser.add_argument("--cpus", type=float, default=1, help="of each sidecar (1)")
    parser.add_argument("--sidecars", type=int, help="how many; as many as the cluster's GPUs are enough for")
    parser.add_argument("--cache", help="a folder on each node's own disk: each sidecar has one in it")
    own, passed = parser.parse_known_args()
    ray.init()
    enough = int(ray.cluster_resources().get("GPU", 0) // own.gpus) if own.gpus else 1
    count = enough if own.sidecars is None else own.sidecars
    if count < 1:
        parser.error(
            f"the cluster has no {own.gpus:g} GPUs: --gpus 0 starts sidecars without one, --sidecars waits for some"
        )
    actors = [Sidecar.options(num_gpus=own.gpus, num_cpus=own.cpus).remote() for _ in range(count)]
    waiting = {}
    for number, actor in enumerate(actors):
        cache = [f"--cache={own.cache}/{number}"] if own.cache else []
        waiting[actor.serve.remote([own.run, *passed, *cache])] = number
    served = 0
    while waiting:
        for done in ray.wait([*waiting], timeout=60)[0]:
            number = waiting.pop(done)
            try:
                ray.get(done)
                served += 1
            except ray.exceptions.RayError as error:
                print(f"sidecar {number} is given up, {len(waiting)} go on: {error}", file=sys.stderr, flush=True)
    return 0 if served else 1


if __name__ == "__main__":
    sys.exit(main())
