"""Real English text from packages of Debian, as JSON lines and as corpora.

    python examples/corpora/make_corpus.py real-text

Needs `apt-get` and `dpkg-deb`, as Debian and Ubuntu have them; nothing is installed, and no rights are needed. Where
packages are not found, run `apt-get update` first. In the folder are then

    documents.jsonl       text, source (package/page) and licence of each document
    out-of-domain.jsonl   the same of another kind of text: novels
    corpus/               of documents.jsonl; a share of the documents is held out
    held-out-short/, held-out-long/, out-of-domain/      corpora with the same tokenizer, to measure losses on
    packages.json         versions and digests of packages, what was taken of each, and a digest of all documents

The documents depend on the packages and the options alone.
"""

import argparse
import hashlib
import json
import logging
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from texts import READERS, documents, is_prose, words

from streamdocs.corpus import prepare_corpus
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import StreamdocsError

log = logging.getLogger(__name__)

_LONGER = 1.5  # times the most words, which a last paragraph may add
_WHOLE = 3  # of so many pages one stays whole, so that some documents are long
_SECONDS = 600  # for one package

Row = dict[str, str]


class CorpusScriptError(StreamdocsError):
    """A package cannot be had, or holds nothing of what was looked for."""


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    packages = Path(__file__).with_name("packages.yaml")
    parser.add_argument("--packages", type=Path, default=packages, help="which are read, in the form of this file")
    parser.add_argument("--documents", type=int, default=1200, help="at most, with those held out")
    parser.add_argument("--out-of-domain", type=int, default=150, help="documents, at most")
    parser.add_argument("--holdout", type=float, default=0.125, help="share of the documents to hold out")
    parser.add_argument("--most-of-one", type=int, default=400, help="documents of one package")
    parser.add_argument("--least", type=int, default=90, help="words a document")
    parser.add_argument("--most", type=int, default=1500, help="words a document")
    parser.add_argument("--long", type=int, default=1024, help="tokens that a long held-out document has at least")
    parser.add_argument("--vocabulary", type=int, default=8192, help="tokens of the tokenizer that is trained")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        make(options)
    except StreamdocsError as error:
        raise SystemExit(f"Error: {error}") from None


def make(options: argparse.Namespace) -> None:
    """Fetch, read, choose, write and prepare."""
    known = yaml.safe_load(options.packages.read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    packages: dict[str, Any] = {}
    rows: dict[str, list[Row]] = {}
    most = {"in_domain": options.documents, "out_of_domain": options.out_of_domain}
    for domain, count in most.items():
        found: list[Row] = []
        for name, package in known[domain].items():
            packages[name], of_package = _read_package(name, package, known["left_out"], options)
            found += of_package
            log.info("%s %s: %d documents", name, packages[name]["version"], len(of_package))
        rows[domain] = _chosen(found, count)
    for domain, file in (("in_domain", "documents.jsonl"), ("out_of_domain", "out-of-domain.jsonl")):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows[domain])
        (options.out / file).write_text("".join(lines), encoding="utf-8")
    digest = hashlib.sha256("".join(row["text"] for each in rows.values() for row in each).encode()).hexdigest()
    counts = _prepare(options, rows["in_domain"])
    for name, count in Counter(row["source"].partition("/")[0] for each in rows.values() for row in each).items():
        packages[name]["documents"] = count
    told = {"digest": digest, **counts, "packages": packages}
    (options.out / "packages.json").write_text(json.dumps(told, indent=2) + "\n")
    log.info("%s", json.dumps(counts))
    others = [name for each in most for name, its in known[each].items() if packages[name]["version"] != its["version"]]
    same = "the recorded one" if digest == known["digest"] else "not the recorded one"
    log.info("digest %s, %s; other versions than recorded: %s", digest[:16], same, ", ".join(others) or "none")


def _read_package(name: str, package: Row, left_out: list[str], options: argparse.Namespace) -> tuple[Row, list[Row]]:
    """What a package is, and its documents in an order that depends on their texts alone."""
    folder = options.out / "packages"
    folder.mkdir(exist_ok=True)
    if not (found := sorted(folder.glob(f"{name}_*.deb"))):
        _run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=", name], folder)
        found = sorted(folder.glob(f"{name}_*.deb"))
    deb = found[-1]
    root = folder / name
    if not root.is_dir():
        _run(["dpkg-deb", "-x", deb.name, name], folder)
    version = _run(["dpkg-deb", "-f", deb.name, "Version"], folder).strip()
    pages = [page for page in sorted(root.glob(package["files"])) if not page.name.startswith(tuple(left_out))]
    rows = {row["text"].lower(): row for row in _rows(name, package, pages, options)}  # each text once
    if not rows:
        elsewhere = f"its files lie elsewhere than in {package['version']}"
        raise CorpusScriptError(f"{deb} ({version}) has no documents at {package['files']}: {elsewhere}")
    told = {"version": version, "sha256": hashlib.sha256(deb.read_bytes()).hexdigest(), "licence": package["licence"]}
    return told, _chosen(list(rows.values()), options.most_of_one)


def _rows(name: str, package: Row, pages: list[Path], options: argparse.Namespace) -> Iterator[Row]:
    read = READERS[package.get("reader", "html")]
    for path in pages:
        for number, page in enumerate(read(path)):
            whole = int(_digest(f"{path.name}/{number}"), 16) % _WHOLE == 0
            for text in documents(page, options.least, options.most, whole):
                if words(text) <= _LONGER * options.most and is_prose(text):
                    yield {"text": text, "source": f"{name}/{path.name}", "licence": package["licence"]}


def _chosen(rows: list[Row], count: int) -> list[Row]:
    """So many of them as if at random, which is the same choice for the same texts."""
    return sorted(rows, key=lambda row: _digest(row["text"]))[:count]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorpusScriptError(f"`{' '.join(command)}`: {error}. It needs Debian's or Ubuntu's own tools.") from error
    if done.returncode:
        raise CorpusScriptError(
            f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()[-500:]}\n"
            "Run `apt-get update` if the package is not found; packages.yaml is of Debian 12."
        )
    return done.stdout


def _prepare(options: argparse.Namespace, rows: list[Row]) -> dict[str, int]:
    """The corpora, and how many documents and tokens each has."""
    out: Path = options.out
    settings: dict[str, Any] = {"overwrite": True, "progress": False}
    prepare_corpus(
        [str(out / "documents.jsonl")],
        out / "corpus",
        train_tokenizer=options.vocabulary,
        holdout=options.holdout,
        **settings,
    )
    tokens: dict[str, int] = {}
    if options.holdout:
        held_out = Corpus(str(out / "corpus"), split="holdout")
        tokens = {held_out.text(each): int(count) for each, count in enumerate(held_out.tokens_per_document)}
    settings["tokenizer"] = str(out / "corpus" / "tokenizer.json")
    halves = {
        "held-out-short": [row for row in rows if tokens.get(row["text"], options.long) < options.long],
        "held-out-long": [row for row in rows if tokens.get(row["text"], 0) >= options.long],
    }
    for name, half in halves.items():
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in half))
    for name in (*halves, "out-of-domain"):
        if (out / f"{name}.jsonl").stat().st_size:
            prepare_corpus([str(out / f"{name}.jsonl")], out / name, **settings)
    counts = {}
    for name in ("corpus", *halves, "out-of-domain"):
        if (out / name).is_dir():
            corpus = Corpus(str(out / name))
            sizes = corpus.tokens_per_document
            counts |= {f"{name} documents": len(sizes), f"{name} tokens": int(sizes.sum())}
    return counts


if __name__ == "__main__":
    main()
