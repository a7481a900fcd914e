"""What starts streamdocs on many nodes: against the schemas of those who run it, and scripts with stand-ins."""

import json
import os
import re
import signal
import subprocess
import time
from importlib.resources import files
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from servers import wait_until
from streamdocs import RunFile
from streamdocs_server.cli import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "server/deploy"
KUBERNETES = "1.37"
SKYPILOT = ROOT / ".venv-sky/bin/python"
needs_skypilot = pytest.mark.skipif(
    not SKYPILOT.exists(), reason=f"no SkyPilot at {SKYPILOT}: `make test` puts it there"
)
SCRIPTS = ["slurm.sbatch", "slurm-nodes.sbatch"]


def load_all(name: str) -> list[dict]:
    return [*yaml.safe_load_all((DEPLOY / name).read_text())]


def shellcheck(script: str) -> str:
    """What is to be said against a script; "" for nothing."""
    command = [Path(os.sys.executable).with_name("shellcheck"), "--shell=bash", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def option_names() -> set[str]:
    """Options of ``streamdocs-server serve``."""
    return {name for each in get_command(app).commands["serve"].params for name in each.opts if name.startswith("--")}


# Every file


def test_every_file_is_checked_here():
    checked = {"kubernetes.yaml", "compose.yaml", "compose-s3.yaml", "skypilot.yaml", *SCRIPTS}
    elsewhere = {"Dockerfile", "streamdocs-server.service", "ray_job.py"}
    assert {path.name for path in DEPLOY.iterdir() if path.is_file()} == checked | elsewhere


def commands(text: str) -> list[str]:
    """What follows a run file where sidecars are started, in a shell or a list of a manifest; nothing in quotes."""
    lines = text.replace("\\\n", " ")
    found = re.findall(r"(?:streamdocs-server|ray_job\.py),? (?:/\S*)?run\.yaml(.*)", lines)
    return [re.sub(r"\"[^\"]*\"", "", each) for each in found]


def test_options_and_programs_are_there():
    texts = {path.name: path.read_text() for path in DEPLOY.iterdir() if path.is_file()}
    started = {name: commands(text) for name, text in texts.items()}
    assert {name for name, found in started.items() if not found} == {"Dockerfile"}
    options = {option for found in started.values() for each in found for option in re.findall(r"--[a-z-]+", each)}
    assert {"--model", "--endpoint", "--fill", "--tokens-per-second"} <= options <= option_names()
    programs = {program for text in texts.values() for program in re.findall(r"examples/[a-z_]+\.py", text)}
    assert programs == {"examples/train_torch.py"} and (ROOT / programs.pop()).exists()


# Kubernetes


@pytest.mark.parametrize(
    "resource", load_all("kubernetes.yaml"), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_kubernetes_takes_it(resource):
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("Deployment", {"replica": 2}), ("Job", {"completions": "four"}), ("Job", {"completionmode": "Indexed"})],
)
def test_kubernetes_does_not_take_just_anything(kind, wrong):
    resource = next(each for each in load_all("kubernetes.yaml") if each["kind"] == kind)
    resource["spec"] |= wrong
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_pods_have_what_they_name():
    resources = load_all("kubernetes.yaml")
    by_kind = {(each["kind"], each["metadata"]["name"]): each for each in resources}
    assert "hostPID" not in (DEPLOY / "kubernetes.yaml").read_text()
    for kind, name in (("Deployment", "streamdocs-server"), ("Job", "trainers")):
        pod = by_kind[kind, name]["spec"]["template"]["spec"]
        volumes = {each["name"]: each for each in pod["volumes"]}
        mounted = {mount["name"] for each in pod["containers"] for mount in each["volumeMounts"]}
        assert mounted == volumes.keys()
        assert ("ConfigMap", volumes["run"]["configMap"]["name"]) in by_kind
        assert ("ServiceAccount", pod["serviceAccountName"]) in by_kind
    job = by_kind["Job", "trainers"]["spec"]
    service = by_kind["Service", job["template"]["spec"]["subdomain"]]["spec"]
    assert service["selector"].items() <= job["template"]["metadata"]["labels"].items()
    command = job["template"]["spec"]["containers"][0]["command"]
    assert {f"--nnodes={job['completions']}", "--rdzv-endpoint=trainers-0.trainers:29500"} <= {*command}


def test_the_run_file_of_the_pods_is_one(tmp_path):
    (held,) = (each["data"] for each in load_all("kubernetes.yaml") if each["kind"] == "ConfigMap")
    (tmp_path / "run.yaml").write_text(held["run.yaml"])
    file = RunFile.load(tmp_path / "run.yaml")
    # The cache and the corpus fit into the volume that both are in.
    assert (file.store, file.cache, file.cache_bytes) == ("s3://bucket/run", "/cache/store", 150 << 30)
    assert file.corpus.startswith("/cache/") and file.generator.endpoint == ("http://127.0.0.1:30000",)


# Compose


@pytest.fixture(scope="module")
def compose_schema() -> dict:
    return json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())


@pytest.mark.parametrize("name", ["compose.yaml", "compose-s3.yaml"])
def test_compose_takes_it(name, compose_schema):
    (composed,) = load_all(name)
    check = jsonschema.validators.validator_for(compose_schema)(compose_schema)
    assert [error.message for error in check.iter_errors(composed)] == []
    composed["services"]["sidecar"]["comand"] = "x"
    assert [*check.iter_errors(composed)]


def test_services_have_what_they_name(tmp_path):
    (composed,) = load_all("compose-s3.yaml")
    services = composed["services"]
    for service in services.values():
        assert service.get("depends_on", {}).keys() <= services.keys()
        named = {each.partition(":")[0] for each in service.get("volumes", []) if ":" in each}
        assert named <= composed["volumes"].keys()
        assert {each["source"] for each in service.get("configs", [])} <= composed["configs"].keys()
        assert "pid" not in service
    (tmp_path / "run.yaml").write_text(composed["configs"]["run"]["content"])
    file = RunFile.load(tmp_path / "run.yaml")
    assert (file.store, file.generator.engine) == ("s3://streamdocs/run", "template")


# SkyPilot

_TAKE = """
import sys, yaml
from sky.utils import common_utils, schemas
task = yaml.safe_load(sys.stdin)
common_utils.validate_schema(task, schemas.get_task_schema(), "task: ")
common_utils.validate_schema(task["resources"], schemas.get_resources_schema(), "resources: ")
for mount in task["file_mounts"].values():
    common_utils.validate_schema(mount, schemas.get_storage_schema(), "storage: ")
"""


@needs_skypilot
@pytest.mark.parametrize("wrong", [{}, {"num_nodes": "four"}, {"resources": {"accelerator": "H100"}}, {"setupp": ""}])
def test_skypilot_takes_it(wrong, tmp_path):
    (task,) = load_all("skypilot.yaml")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    taken = subprocess.run(
        [SKYPILOT, "-c", _TAKE],
        input=yaml.safe_dump(task | wrong),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (taken.returncode == 0) == (not wrong), taken.stderr


# Scripts, of which those that start the nodes are run with stand-ins


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_shell_takes_it(name):
    assert shellcheck((DEPLOY / name).read_text()) == ""


@pytest.mark.parametrize("part", ["setup", "run"])
def test_a_shell_takes_the_parts_of_skypilot(part):
    (task,) = load_all("skypilot.yaml")
    assert shellcheck(task[part]) == ""
    assert "SC2154" in shellcheck("echo $nobody_set_it")


def stand_in(folder: Path, name: str, does: str) -> None:
    (folder / name).write_text(f"#!/usr/bin/env bash\n{does}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def nodes(tmp_path):
    """A folder of stand-ins: what was called is in `called`, a sidecar works until it is told to end."""
    stand_in(tmp_path, "scontrol", "printf '%s\\n' node-1 node-2 node-3 node-4")
    ends = f"trap 'echo \"$1 ended\" >> {tmp_path}/ended; exit 0' TERM; sleep 60 & wait"
    does = f'echo "$*" >> {tmp_path}/called\ncase "$*" in *streamdocs-server*) {ends} ;; *) {{train}} ;; esac'
    return tmp_path, lambda train: stand_in(tmp_path, "srun", does.replace("{train}", train))


def slurm(folder: Path, **settings) -> subprocess.Popen:
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "MODEL": "m",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n",
    }
    script = str(DEPLOY / "slurm-nodes.sbatch")
    return subprocess.Popen(["bash", script], env=environment | settings, cwd=folder)


@pytest.mark.parametrize("status", [0, 3])
def test_slurm_nodes_are_dealt_and_the_status_is_that_of_training(nodes, status):
    folder, trains = nodes
    trains(f"sleep 1; exit {status}")
    assert slurm(folder, SERVERS="3" if status else "1").wait(timeout=30) == status
    serving, training = sorted((folder / "called").read_text().splitlines(), key=lambda line: "torchrun" in line)
    first, rest = ["node-1,node-2,node-3", "node-4"] if status else ["node-1", "node-2,node-3,node-4"]
    assert serving.startswith(f"--nodelist={first} --nodes={first.count(',') + 1} ")
    assert training.startswith(f"--nodelist={rest} --nodes={rest.count(',') + 1} ")
    assert f"--nnodes={rest.count(',') + 1} " in training and f"--rdzv-endpoint={rest[:6]}:29500 " in training
    assert (folder / "ended").exists()


def test_slurm_passes_on_that_the_time_is_over(nodes):
    folder, trains = nodes
    trains(f"trap 'echo training ended >> {folder}/ended; exit 0' TERM; sleep 60 & wait")
    job = slurm(folder)
    wait_until(lambda: (folder / "called").exists() and len((folder / "called").read_text().splitlines()) == 2)
    time.sleep(0.5)  # for the traps of the stand-ins
    job.send_signal(signal.SIGTERM)
    job.wait(timeout=30)
    wait_until(lambda: len((folder / "ended").read_text().splitlines()) == 2)


@pytest.mark.parametrize(("rank", "program"), [(0, "streamdocs-server"), (1, "streamdocs-server"), (2, "torchrun")])
def test_skypilot_nodes_are_dealt(rank, program, tmp_path):
    (task,) = load_all("skypilot.yaml")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("streamdocs-server", "torchrun"):
        stand_in(tmp_path / ".venv/bin", name, f'echo {name} "$@"')
    addresses = "\n".join(f"10.0.0.{number}" for number in range(1, 5))
    settings = {"SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NODE_IPS": addresses, "SKYPILOT_NUM_NODES": "4"}
    settings |= task["envs"] | {"SERVERS": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "8", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", task["run"]], env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.startswith(program)
    if rank == 2:
        assert "--nnodes=2 --nproc-per-node=8" in done.stdout and "--rdzv-endpoint=10.0.0.3:29500" in done.stdout
    else:
        assert "--tp 8" in done.stdout
