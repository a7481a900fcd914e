"""What is written some time is written, too, where the process ends at once."""

import subprocess
import sys

import pytest

from streamdocs.store import SharedStore
from streamdocs.store.shared.log import in_parallel

_LIFE = """
import sys
from streamdocs.store import SharedStore

def life(url, cache, kept):
    store = SharedStore(url, cache)
    store.update(b"begun", lambda _: b"1")
    print("begun", flush=True)
    sys.stdin.readline()
    store.update_soon(b"mark", lambda _: b"last")
    return store if kept else None

store = life(sys.argv[1], sys.argv[2], sys.argv[3] == "kept")
"""


@pytest.mark.parametrize("kept", ["kept", "nobody has the store any more"])
def test_the_last_mark_of_a_process_that_others_were_faster_than(tmp_path, kept):
    url = f"file://{tmp_path}/shared"
    store = SharedStore(url, tmp_path / "one")
    command = [sys.executable, "-c", _LIFE, url, str(tmp_path / "two"), kept]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        for number in range(40):  # more than are read one at a time
            store.update(b"n", lambda _, number=number: b"%d" % number)
        _, told = process.communicate("\n", timeout=60)
    assert process.returncode == 0 and told == ""
    store.node.catch_up()
    with store.read() as snapshot:
        assert snapshot.get("notes", b"mark") == b"last"


def test_work_whose_errors_are_its_own():
    """They are not taken for the end of the process, after which it is done again."""
    done = []

    def work(number: int) -> None:
        done.append(number)
        raise RuntimeError("its own")

    with pytest.raises(RuntimeError, match="its own"):
        in_parallel(work, [1, 2])
    assert done.count(1) == 1
