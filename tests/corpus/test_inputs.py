import gzip
import json
import os
import random

import pytest

from streamdocs.corpus import inputs as inputs_module
from streamdocs.corpus.inputs import find_inputs, missing
from streamdocs.errors import ConfigError, CorpusError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 123456789\n" % (b"ab" * 32)
ROW = b'{"text": "one"}\n'


def write(root, *names, contents=ROW):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(contents)


def found(root, text_field="text"):
    """What is taken and what is left out of a folder, by reason, as paths in it."""
    inputs = find_inputs([str(root)], text_field)
    left_out = {reason: names(root, files) for reason, files in inputs.left_out.items() if files}
    return names(root, inputs.files), left_out


def names(root, files):
    return [os.path.relpath(file, root) for file in files]


def test_every_kind_in_any_case_and_what_is_left_out(tmp_path):
    taken = ["A.JSONL", "b.ndjson", "c/d.json.gz", "c/e.Parquet", "f.arrow", "g.jsonl.zstd", "h.feather"]
    write(tmp_path, *taken, contents=ROW * 2)
    write(tmp_path, ".cache/x.txt", "c/.hidden.jsonl", "picture.PNG", "c/table.csv", "part-00000", "_SUCCESS")
    files, left_out = found(tmp_path)
    assert files == taken
    assert left_out == {
        "hidden": [".cache", "c/.hidden.jsonl"],
        ".png is not read": ["picture.PNG"],
        ".csv is not read": ["c/table.csv"],
        "no ending that is known": ["_SUCCESS", "part-00000"],
    }


def test_a_card_and_other_text_beside_tables(tmp_path):
    write(tmp_path, "README.md", "LICENSE.txt", "data/urls.txt", "data/train.parquet", "books/1.txt", "books/README.md")
    files, left_out = found(tmp_path)
    assert files == ["books/1.txt", "books/README.md", "data/train.parquet"]
    assert left_out == {"text beside tables": ["LICENSE.txt", "README.md", "data/urls.txt"]}


def test_what_a_folder_of_texts_says_of_itself(tmp_path):
    write(tmp_path, "Readme.md", "LICENCE", "licence-odc.txt", "CITATION.txt", "1.txt", "a/readme.md", "readmemory.txt")
    write(tmp_path, "metadata.json", contents=b'{"texts": 2}')
    files, left_out = found(tmp_path)
    assert files == ["1.txt", "a/readme.md", "readmemory.txt"]
    assert left_out["about the folder, by its name"] == ["CITATION.txt", "Readme.md", "licence-odc.txt"]
    alone = tmp_path / "a"
    assert found(alone) == (["readme.md"], {})


def test_metadata_is_no_rows(tmp_path):
    described = {"name": "x", "splits": [{"name": "train", "rows": 300}]}
    write(tmp_path, "dataset_info.json", contents=json.dumps(described, indent=2).encode())
    write(tmp_path, "state.json", contents=json.dumps(described).encode())
    write(tmp_path, "labels.json.gz", contents=gzip.compress(b'["a", "b"]'))
    write(tmp_path, "array.json", contents=b'[{"text": "one"},\n{"text": "two"}]')  # rows, which a wrong form makes bad
    write(tmp_path, "lines.json", contents=b'{"body": "x"}\n{"body": "y"}\n')
    write(tmp_path, "one.json", "two.jsonl")
    write(tmp_path, "state.jsonl", contents=b'{"body": "x"}\n')
    write(tmp_path, "broken.json", contents=b'{"text": ')
    files, left_out = found(tmp_path)
    assert files == ["array.json", "broken.json", "lines.json", "one.json", "state.jsonl", "two.jsonl"]
    metadata = {"one JSON value without 'text': metadata": ["dataset_info.json", "labels.json.gz", "state.json"]}
    assert left_out == metadata
    assert "dataset_info.json" in found(tmp_path, "splits")[0]
    with pytest.raises(CorpusError, match=r"no files of a kind .* 1 one JSON value without 'text': metadata"):
        (tmp_path / "only").mkdir()
        (tmp_path / "state.json").rename(tmp_path / "only" / "state.json")
        found(tmp_path / "only")


def test_what_is_too_large_for_metadata_is_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs_module, "_MOST_METADATA_BYTES", 20)
    write(tmp_path, "a.json", contents=b'{"name": "0123456789"}')
    assert found(tmp_path) == (["a.json"], {})


def test_what_datasets_save_to_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_dict({"text": [f"text {n}" for n in range(30)]})
    saved.save_to_disk(tmp_path / "set", num_shards=2)
    write(tmp_path, "set/cache-0123456789abcdef.arrow")
    files, left_out = found(tmp_path / "set")
    assert files == [f"data-0000{n}-of-00002.arrow" for n in range(2)]
    assert left_out == {
        "a cache of the datasets library": ["cache-0123456789abcdef.arrow"],
        "one JSON value without 'text': metadata": ["dataset_info.json", "state.json"],
    }
    datasets.DatasetDict(train=saved, test=saved).save_to_disk(tmp_path / "in" / "splits")
    for folder in (tmp_path, tmp_path / "in", tmp_path / "in" / "splits"):
        with pytest.raises(CorpusError, match=r"splits/test.*Arrow files of datasets\.save_to_disk"):
            found(folder)
    assert len(found(tmp_path / "in" / "splits" / "train")[0]) == 1


def test_linked_folders_are_read_once(tmp_path):
    write(tmp_path, "in/a.jsonl", "elsewhere/b.jsonl", "elsewhere/deep/c.jsonl")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere" / "up").symlink_to("..")
    files, _ = found(tmp_path / "in")
    assert files == ["a.jsonl", "linked/b.jsonl", "linked/deep/c.jsonl"]
    assert len(found(tmp_path)[0]) == 3
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert found(tmp_path / "link")[0] == ["a.jsonl", "linked/b.jsonl", "linked/deep/c.jsonl"]


def test_links_are_known_by_their_own_names(tmp_path):
    write(tmp_path, "blobs/0123", "snapshot/b.jsonl")
    (tmp_path / "snapshot" / "a.jsonl").symlink_to("../blobs/0123")
    assert found(tmp_path / "snapshot")[0] == ["a.jsonl", "b.jsonl"]
    assert missing(str(tmp_path / "snapshot" / "a.jsonl")) == ""


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        ("a.jsonl", LFS, "git lfs pull"),
        ("a.parquet", LFS.replace(b"git-lfs.github.com", b"hawser.github.com"), "git lfs pull"),
        ("a.jsonl.gz", LFS, "git lfs pull"),
        ("a.arrow", b"/annex/objects/SHA256E-s1234--ab.arrow\n", "git annex get"),
        ("a.jsonl.gz", b"", "0 bytes"),
        ("a.ndjson.zst", b"", "0 bytes"),
        ("a.json.bz2", b"", "0 bytes"),
        ("a.jsonl.part", ROW, "not complete"),
        ("a.parquet.incomplete", ROW, "not complete"),
        ("a.jsonl.aria2", ROW, "not complete"),
    ],
)
def test_data_that_is_not_here(tmp_path, name, contents, reason):
    write(tmp_path, "good.jsonl")
    write(tmp_path, name, contents=contents)
    files, _ = found(tmp_path)
    assert sorted([name, "good.jsonl"]) == files
    assert reason in missing(str(tmp_path / name)) and missing(str(tmp_path / "good.jsonl")) == ""


def test_links_to_nothing(tmp_path):
    (tmp_path / "a.jsonl").symlink_to("nowhere")
    (tmp_path / "b.jsonl").symlink_to(".git/annex/objects/x/y/SHA256E-s1--ab.jsonl")
    (tmp_path / "data").symlink_to("/not/mounted")
    assert found(tmp_path)[0] == ["a.jsonl", "b.jsonl", "data"]
    reasons = [missing(str(tmp_path / name)) for name in ("a.jsonl", "b.jsonl", "data")]
    assert "No such file" in reasons[0] and "git annex get" in reasons[1] and "No such file" in reasons[2]


def test_folders_and_files_without_rights(tmp_path, as_nobody):
    root = as_nobody
    write(root, "a.jsonl", "locked/b.jsonl", "c.jsonl")
    (root / "locked").chmod(0)
    (root / "c.jsonl").chmod(0)
    try:
        assert found(root)[0] == ["a.jsonl", "c.jsonl", "locked"]
        assert "cannot be listed" in missing(str(root / "locked"))
        assert "Permission denied" in missing(str(root / "c.jsonl"))
    finally:
        (root / "locked").chmod(0o700)


def test_numbered_shards_that_are_not_all_there(tmp_path):
    write(tmp_path, *(f"train-0000{n}-of-00005.parquet" for n in (0, 1, 4)))
    write(tmp_path, "b/part_1-of-2.jsonl.gz", "whole-0-of-2.jsonl", "whole-1-of-2.jsonl", "odd-7-of-3.jsonl")
    files, left_out = found(tmp_path)
    assert len(files) == 7
    assert left_out == {
        "not there, of train-*-of-00005.parquet": ["train-00002-of-00005.parquet", "train-00003-of-00005.parquet"],
        "not there, of part_*-of-2.jsonl.gz": ["b/part_2-of-2.jsonl.gz"],
        "not there, of odd-*-of-3.jsonl": ["odd-1-of-3.jsonl", "odd-2-of-3.jsonl", "odd-3-of-3.jsonl"],
    }


def test_inputs_that_cannot_be_read(tmp_path):
    write(tmp_path, "a.png", "b/c.csv")
    with pytest.raises(CorpusError, match=r"nowhere\.jsonl does not exist"):
        find_inputs([str(tmp_path / "nowhere.jsonl")])
    with pytest.raises(CorpusError, match=r"a\.png is of no kind"):
        find_inputs([str(tmp_path / "a.png")])
    with pytest.raises(CorpusError, match=r"has no files of a kind .*: 1 \.png is not read; 1 \.csv"):
        find_inputs([str(tmp_path)])


def test_files_that_are_named_are_taken_as_they_are(tmp_path):
    write(tmp_path, "README.md", "state.json", "a.jsonl")
    given = [str(tmp_path / name) for name in ("state.json", "README.md", "a.jsonl")]
    assert find_inputs(given).files == given


def test_a_home_and_variables_in_inputs(tmp_path, monkeypatch):
    write(tmp_path, "a.jsonl", "$odd.jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given in ("~/a.jsonl", "$WHERE/a.jsonl", "${WHERE}/a.jsonl", "a.jsonl"):
        assert find_inputs([given]).files == [str(tmp_path / "a.jsonl")]
    assert find_inputs(["$odd.jsonl"]).files == [str(tmp_path / "$odd.jsonl")]
    with pytest.raises(ConfigError, match="the variable NOWHERE is not set"):
        find_inputs(["$NOWHERE/a.jsonl"])


def test_the_order_is_that_of_the_names(tmp_path):
    made = [f"{n % 7}/{n}.jsonl" for n in range(40)]
    random.Random(0).shuffle(made)
    write(tmp_path, *made)
    assert [*map(str, found(tmp_path)[0])] == [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*.jsonl"))]
