import gzip
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from streamdocs.commands.cli import commands
from streamdocs.errors import BadInputError, ConfigError


def run(*arguments):
    return CliRunner().invoke(commands, [str(each) for each in arguments], catch_exceptions=False)


def test_prepare_and_info(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "one two"}\n{"body": "one two"}\n{"body": "three"}\n{\n')
    corpus = tmp_path / "corpus"
    options = ["--train-tokenizer", 300, "--text-field", "body", "--max-bad", 1]
    result = run("prepare", tmp_path / "a.jsonl", "--out", corpus, *options)
    assert result.exit_code == 0, result.output
    for part in ("train documents", "not JSON", "duplicates", "byte-level BPE"):
        assert part in result.output
    facts = json.loads(run("info", corpus, "--json").stdout)
    assert facts["splits"]["train"]["documents"] == 2
    assert facts["splits"]["train"]["mean_tokens"] == facts["splits"]["train"]["tokens"] / 2
    assert facts["report"]["bad"] == {"not JSON": 1}
    assert facts["disk_bytes"] > 1000


def test_one_table_says_what_was_taken_and_left_out(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n')
    (folder / "README.md").write_text("# A dataset card")
    for name in ("x.csv", "y.csv"):
        (folder / name).touch()
    result = run("prepare", folder, "--out", tmp_path / "corpus", "--train-tokenizer", 300)
    said = " ".join(result.output.split())
    for part in ("files taken │ 2", "left out: text beside tables │ 1 (README.md)", ".csv is not read │ 2 (x.csv, …)"):
        assert part in said, said
    again = run("prepare", folder, "--out", tmp_path / "corpus", "--train-tokenizer", 300)
    assert "README.md" in again.output


def test_columns_are_kept_and_shown(tmp_path):
    rows = [{"text": f"t {n}", "score": n / 2, "language": ["en", "de", "[red]\x1b"][n % 8 % 3]} for n in range(100)]
    rows += [{"text": "none", "score": "?"}, {"text": "long", "score": 9, "language": "x" * 5000}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--train-tokenizer", 300, "--keep", "score,language", "--keep", "language"]
    said = run("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "corpus", *options).output
    said = " ".join(said.replace("│", " ").split())
    for part in (
        "train column language 3 strings: en 38.0%, de 37.0%, [red]\\x1b 25.0% (2 missing)",
        "train column score numbers from 0 to 49.5, quartiles 12, 24.5, 37 (1 missing)",
        "no language: longer than 4,096 bytes 1",
        "no score: not a number 1",
    ):
        assert part in said, said
    facts = json.loads(run("info", tmp_path / "corpus", "--json").stdout)
    score, language = (facts["splits"]["train"]["columns"][name] for name in ("score", "language"))
    assert (score["values"], score["missing"], score["quartiles"]) == (101, 1, [0, 12, 24.5, 37, 49.5])
    assert (language["values"], language["missing"], language["distinct"]) == (100, 2, 3)
    assert language["commonest"] == {"en": 38, "de": 37, "[red]\x1b": 25}


def test_a_home_and_variables_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NOWHERE", raising=False)
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    result = run("prepare", "~/a.jsonl", "--out", "~/corpus", "--train-tokenizer", 300)
    assert result.exit_code == 0 and (tmp_path / "corpus" / "corpus.json").exists()
    assert json.loads(run("info", "$HOME/corpus", "--json").stdout)["report"]["rows"] == 1
    for command in (
        ("info", "$NOWHERE/corpus"),
        ("inspect", "$NOWHERE/run.yaml"),
        ("audit", "~", "--json", "$NOWHERE/x"),
    ):
        with pytest.raises(ConfigError, match="the variable NOWHERE is not set"):
            run(*command)


def test_errors_are_left_to_the_main_command(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(ConfigError, match="either --tokenizer"):
        run("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "corpus")


def test_after_an_input_that_broke_off_the_same_command_works_once_it_is_whole(tmp_path):
    source, corpus = tmp_path / "a.jsonl.gz", tmp_path / "corpus"
    options = ["prepare", source, "--out", corpus, "--train-tokenizer", "300"]
    whole = gzip.compress(b"".join(b'{"text": "%d"}\n' % number for number in range(1000)))
    source.write_bytes(whole[:-100])
    command = [sys.executable, "-c", "from streamdocs.commands.cli import app; app()", *options]
    broken = subprocess.run(command, check=False, capture_output=True)
    assert broken.returncode and not corpus.exists()
    with pytest.raises(BadInputError, match=r"a\.jsonl\.gz cannot be read to its end"):
        run(*options)
    source.write_bytes(whole)
    assert run(*options).exit_code == 0
    assert json.loads(run("info", corpus, "--json").stdout)["splits"]["train"]["documents"] == 1000
