"""Every block of code on a page runs, from the first to the last, in a folder of the page's own.

``bash`` and ``python`` run, ``yaml`` is read by what reads it in a run, and ``text`` is for people: what would ask a
server or a cluster, what is shown of an output. There is no other kind.
"""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from itertools import dropwhile, islice
from pathlib import Path
from pydoc_data.topics import topics

import click
import pytest
import torch
import yaml
from sybil import Document
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser
from transformers import LlamaConfig, LlamaForCausalLM
from typer.main import get_command
from typer.testing import CliRunner

from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.commands.cli import commands
from streamdocs.recipes.programs.files import load_program
from streamdocs_server.cli import app as server
from streamdocs_server.gates.phrases import Language

ROOT = Path(__file__).parents[1]
KINDS = {"bash", "python", "yaml", "text"}
#: These begin with nothing: they say how to make everything.
FROM_NOTHING = {"README.md", "docs/tutorial.md"}
#: Its blocks are one session, which test_docs.py holds against what Python says.
ELSEWHERE = {"docs/worked-example.md"}
PROGRAMS = {"streamdocs": commands, "streamdocs-server": server}
RUN = {"corpus": "corpus", "store": "store", "recipe": {"name": "stitch", "generations": 4, "per_round": 2}}
MIX = {"synthetic_fraction": 0.75, "max_seq_len": 256, "window": 64}


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def pages() -> list[str]:
    """Those with code, by their paths in the repository."""
    found = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "server").glob("*.md")]
    named = sorted(path.relative_to(ROOT).as_posix() for path in found if "```" in path.read_text())
    return [name for name in named if name not in ELSEWHERE]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A corpus, a run file, a store with all that the run wants, and its first sequences read."""
    folder = tmp_path_factory.mktemp("world")
    texts = [json.dumps({"text": text}) + "\n" for text in list(topics.values())[:60]]
    (folder / "documents.jsonl").write_text("".join(texts))
    (folder / "run.yaml").write_text(yaml.safe_dump({**RUN, "generator": {"engine": "template"}, "mix": MIX}))
    before = os.getcwd()
    os.chdir(folder)
    try:
        run("streamdocs prepare documents.jsonl --out corpus --train-tokenizer 512 --holdout 0.1")
        run("streamdocs-server run.yaml")
        dataset = StreamingMegadocDataset.from_run_file("run.yaml", batch_size=8)
        assert len(list(islice(dataset, 130))) == 130
    finally:
        os.chdir(before)
    shutil.copytree(folder / "corpus", folder / "arxiv-corpus")
    for path in (ROOT / "examples/recipes").iterdir():
        shutil.copy(path, folder)
    for name, inside in {"claims.txt": "{document}", "debate.txt": "{document} {claim}"}.items():
        (folder / name).write_text(inside)
    return folder


def given(page: str, folder: Path) -> dict[str, object]:
    """What a page takes from the loop that it is about."""
    if page in FROM_NOTHING:
        return {}
    dataset = StreamingMegadocDataset.from_run_file(folder / "run.yaml", batch_size=8)
    embedding = torch.nn.Embedding(dataset.corpus.vocab_size, 16)
    head = torch.nn.Linear(16, dataset.corpus.vocab_size)

    def model(input_ids, labels=None):
        logits = head(embedding(input_ids))
        if labels is None:
            return logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return type("Output", (), {"loss": loss})

    if page == "docs/loops.md":
        return {"model": small_llama(dataset.corpus.vocab_size), "batch": next(iter(dataset_loader(dataset)))}
    loop = {"loader": [next(iter(dataset_loader(dataset)))], "evaluate": lambda _: 5.0}
    common = {"dataset": dataset, "model": model, "F": torch.nn.functional, "position": 64}
    return {**common, **(loop if page == "docs/steering.md" else {}), "sequences_trained_on": 64}


def dataset_loader(dataset: StreamingMegadocDataset) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(dataset, batch_size=8)


def small_llama(vocabulary: int) -> torch.nn.Module:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes))


def run(command: str) -> None:
    """Run a command of a page in this folder: of ours and of Python in this process, which saves importing torch."""
    name, *arguments = shlex.split(command, comments=True)
    if name in PROGRAMS:
        arguments, into = (arguments[:-2], arguments[-1]) if ">" in arguments else (arguments, os.devnull)
        done = CliRunner().invoke(PROGRAMS[name], arguments)
        assert done.exit_code == 0, f"{command}: {done.output}{done.exception!r}"
        Path(into).write_text(done.stdout)
    elif (name, arguments[0][-3:]) == ("python3", ".py"):
        before, sys.argv = sys.argv, arguments
        try:
            runpy.run_path(arguments[0], run_name="__main__")
        finally:
            sys.argv = before
    else:
        done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def run_bash(example) -> None:
    """Run a block: each of our commands by itself, what is between them by bash."""
    parts = re.split(r"^((?:streamdocs|python3 \w+\.py).*)$", example.parsed, flags=re.MULTILINE)
    for part in parts:
        if part.strip():
            run(part)


def run_python(example) -> None:
    """Run a block; one with the name of a file in its first line is that file, which a command of the page runs."""
    if named := re.match(r"# (\w+\.py)\n", example.parsed):
        assert f"\npython3 {named[1]}" in example.document.text
        Path(named[1]).write_text(example.parsed)
    else:
        PythonEvaluator()(example)


def read_yaml(example) -> None:
    """Read a block as what it is, and keep it under the name in its first line."""
    text = example.parsed
    said = yaml.safe_load(text)
    named = re.match(r"# ([\w-]+\.yaml)", text)
    path = Path(named[1] if named else "part.yaml")
    path.write_text(text)
    if said is None:  # a line for editors
        assert text.startswith("# yaml-language-server: $schema=") and Path("run.schema.json").exists()
    elif "steps" in said:
        load_program(path)
    elif "refusals" in said:
        Language.model_validate(said)
    else:
        if "corpus" not in said:
            path.write_text(yaml.safe_dump(whole(said)))
        RunFile.load(path)


def whole(part: dict) -> dict:
    """A run file with a part of one."""
    base = {key: value for key, value in RUN.items() if key != "recipe" or "streams" not in part}
    mix = {key: value for key, value in MIX.items() if key != "synthetic_fraction" or not ({"streams"} & part.keys())}
    if "preset" in part.get("mix", {}):
        del mix["synthetic_fraction"]
    return {**base, **part, "mix": {**mix, **part.get("mix", {})}}


EVALUATORS = {"bash": run_bash, "python": run_python, "yaml": read_yaml}
PARSERS = [CodeBlockParser(language, evaluator) for language, evaluator in EVALUATORS.items()]


@pytest.mark.parametrize("page", pages())
def test_the_blocks_of_a_page_run(page, world, tmp_path, monkeypatch):
    if page not in FROM_NOTHING:
        shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    document = Document.parse(str(ROOT / page), *PARSERS)
    document.namespace.update(given(page, tmp_path))
    for example in document.examples():
        example.evaluate()


def commands_for_people() -> list[list[str]]:
    """Of blocks that are not run: they ask a model or a cluster, or take their time."""
    blocks = [block for page in pages() for block in re.findall(r"^```text\n(.*?)^```", text_of(page), re.M | re.S)]
    lines = [line.removeprefix("$ ").removesuffix(" &") for block in blocks for line in block.splitlines()]
    begun = r"(streamdocs|streamdocs-server|python|torchrun|accelerate) [a-z-]"
    return [shlex.split(line, comments=True) for line in lines if re.match(begun, line)]


def test_commands_that_are_not_run_have_the_options_that_they_name():
    for name, *arguments in commands_for_people():
        if name in PROGRAMS:
            command, rest = get_command(PROGRAMS[name]), arguments
            while isinstance(command, click.Group):
                _, command, rest = command.resolve_command(click.Context(command), rest)
            command.make_parser(click.Context(command)).parse_args(rest)
        else:
            script, *rest = dropwhile(lambda word: not word.startswith(("benchmarks/", "examples/")), arguments)
            sources = [ROOT / script, ROOT / script / "__main__.py", (ROOT / script).with_name("options.py")]
            said = "".join(path.read_text() for path in sources if path.is_file())
            assert not [word for word in rest if word.startswith("--") and f'"{word}"' not in said], arguments


def test_links_between_pages_lead_to_files():
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "server").rglob("*.md")]:
        links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text())
        made = {"first-run.md"} if path.parent.name == "docs" else set()  # of the notebook, by the site
        assert not [link for link in links if link not in made and not (path.parent / link).exists()], path


def test_every_page_is_in_the_list_of_the_site():
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert there <= {*listed} and len(listed) == len({*listed}), there - {*listed}


def test_every_block_says_what_it_is():
    kinds = {}
    for page in [*pages(), *ELSEWHERE, "CONTRIBUTING.md", "server/sglang/README.md"]:
        fences = re.findall(r"^```(.*)$", (ROOT / page).read_text(), re.MULTILINE)
        assert len(fences) % 2 == 0 and not any(fences[1::2]), page
        kinds |= dict.fromkeys(fences[::2], page)
    assert kinds.keys() == KINDS, kinds
