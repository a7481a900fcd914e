"""Text out of packages: what readers find in their files, and what the whole script makes of packages."""

import gzip
import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import yaml

from streamdocs.corpus.reader import Corpus

FOLDER = Path(__file__).parents[2] / "examples" / "corpora"
SENTENCE = "The {} of a package is what its maintainers agreed to write down about it before anybody asked."


@pytest.fixture
def texts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield __import__("texts")
    sys.modules.pop("texts")


def test_a_page_is_its_sections_without_what_is_around(texts, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<head><title>no</title></head><body><nav>no</nav><p>Prev</p><h2>1.2. Named  things¶</h2><p>A <b>bold</b>\n "
        "word<br>more</p><table><tr><td>no</td></tr></table><pre>two\n  lines</pre>"
        "<h3>Next to it</h3><p>End &amp; over</p>"
    )
    sections = [["Named things", "A bold word more", "two\n  lines"], ["Next to it", "End & over"]]
    assert [each for each in next(texts.html_pages(page)) if each] == sections


def test_entries_of_the_jargon_file_are_pages(texts, tmp_path):
    page = tmp_path / "jargon.txt.gz"
    page.write_bytes(gzip.compress(b"first entry\n\n   Some text\n   of it.\n\n   And more.\nsecond\n\n   Other.\n"))
    found = list(texts.jargon_pages(page))
    assert found == [[["first entry", "Some text of it.", "And more."]], [["second", "Other."]]]


def r_database(*vectors: list[str]) -> bytes:
    """As R writes one, by its manual on serialisation (version 3, XDR)."""
    chunks = b""
    for vector in vectors:
        data = b"X\n" + struct.pack(">iiii", 3, 0x040201, 0x030500, 5) + b"UTF-8" + struct.pack(">ii", 16, len(vector))
        data += b"".join(struct.pack(">ii", 0x40009, len(each.encode())) + each.encode() for each in vector)
        chunks += struct.pack(">I", len(data)) + zlib.compress(data)
    return chunks


def test_chapters_of_novels_are_pages(texts, tmp_path):
    path = tmp_path / "Rdata.rdb"
    path.write_bytes(r_database(["ÉMMA", "", "CHAPTER I", "", "She was", "clever.", "", "Rich."], ["Other"]))
    chapters = [[["ÉMMA"]], [["CHAPTER I", "She was clever.", "Rich."]], [["Other"]]]
    assert list(texts.novel_pages(path)) == chapters
    numbers = zlib.decompress(r_database(["a"])[4:]).replace(b"\0\0\0\x10", b"\0\0\0\x0d")
    path.write_bytes(struct.pack(">I", len(numbers)) + zlib.compress(numbers))
    with pytest.raises(ValueError, match="type 13"):
        list(texts.novel_pages(path))


def test_documents_have_their_length(texts):
    sections = [["Title", *["w " * 30] * 3], ["Short", "w " * 5], ["Long", *["w " * 40] * 5], ["Rest", "w"]]
    for whole in (False, True):
        found = list(texts.documents(sections, least=50, most=100, whole=whole))
        sizes = [texts.words(each) for each in found]
        assert min(sizes) >= 50 and max(sizes) <= 100
        assert [each.split()[0] for each in found][:2] == (["Title", "Short"] if not whole else ["Title", "w"])
    assert texts.is_prose(f"{SENTENCE} " * 3) and not texts.is_prose("a | b = 3; " * 30)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="packages are Debian's")
def test_packages_become_corpora(tmp_path):
    packages = {"left_out": ["index"], "digest": ""}
    for domain, name in (("in_domain", "small-doc"), ("out_of_domain", "other-doc")):
        make_package(tmp_path / domain, name, 60)
        packages[domain] = {name: {"version": "1.0", "files": "usr/*.html", "licence": "MIT"}}
    (tmp_path / "packages.yaml").write_text(yaml.safe_dump(packages))
    digests = set()
    for out in (tmp_path / "one", tmp_path / "two"):
        (out / "packages").mkdir(parents=True)
        for deb in tmp_path.glob("*_domain/*.deb"):
            shutil.copy(deb, out / "packages")
        sizes = ["--least=20", "--most=60", "--vocabulary=400", "--holdout=0.3", "--long=75", "--documents=50"]
        make = [sys.executable, str(FOLDER / "make_corpus.py"), str(out), f"--packages={tmp_path / 'packages.yaml'}"]
        subprocess.run([*make, *sizes], check=True, timeout=120, capture_output=True)
        told = json.loads((out / "packages.json").read_text())
        digests.add(told["digest"])
    assert len(digests) == 1
    assert told["packages"]["small-doc"]["documents"] == 50 and told["packages"]["small-doc"]["version"] == "1.0"
    rows = [json.loads(line) for line in (out / "documents.jsonl").read_text().splitlines()]
    assert len({row["text"] for row in rows}) == 50
    assert {(row["source"].split("/")[0], row["licence"]) for row in rows} == {("small-doc", "MIT")}
    held_out = Corpus(str(out / "corpus"), split="holdout")
    short, long = (Corpus(str(out / name)).tokens_per_document for name in ("held-out-short", "held-out-long"))
    assert max(short) < 75 <= min(long)
    assert sorted([*short, *long]) == sorted(held_out.tokens_per_document)
    assert told["corpus documents"] + len(short) + len(long) == 50


def make_package(folder: Path, name: str, pages: int) -> None:
    (folder / name / "DEBIAN").mkdir(parents=True)
    control = {"Package": name, "Version": "1.0", "Architecture": "all", "Maintainer": "a <a@b.c>", "Description": "a"}
    (folder / name / "DEBIAN" / "control").write_text("".join(f"{each}: {value}\n" for each, value in control.items()))
    (folder / name / "usr").mkdir()
    for page in range(pages):
        sentences = " ".join(
            SENTENCE.format(f"{word} {page}") for word in ("name", "text", "use", "end")[: 3 + page % 2]
        )
        (folder / name / "usr" / f"{page}.html").write_text(f"<h1>Page</h1><p>{name} {sentences}</p>")
    (folder / name / "usr" / "index.html").write_text(f"<p>{SENTENCE * 3}</p>")
    subprocess.run(["dpkg-deb", "-b", name, f"{name}_1.0_all.deb"], cwd=folder, check=True, capture_output=True)
