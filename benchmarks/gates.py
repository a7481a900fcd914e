"""What the gates cost: processor milliseconds for 1,000 generated tokens, all of them together.

usage: python benchmarks/gates.py [--json] [--repeats 7] [--words 700] [--n 4] [--protected 0]

Texts are made of some 250 words, with a document of as many; four characters count as a token. ``first`` is the
first generation of a document, for which the document has to be looked at too, ``mean`` is over ``n`` of each document.
``real`` is of the answers of a small model that are in the tests: one or two short ones of each document, for which
what does not depend on the length of a text costs the most. It takes the gates of any commit.

With ``--protected``, texts are also held against so many documents of 500 words that training must not read;
``protected_s`` are the processor seconds that it takes to get these ready.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import zstandard

from streamdocs.recipes import Request, Stitch
from streamdocs_server.gates.gates import Accepted, Gates

# As many distinct ones as a text of that length has.
_SYLLABLES = "ka lo mi ten ra sul".split()  # noqa: SIM905
_WORDS = [*"the of and to in a is that for it".split(), *map("".join, product(_SYLLABLES, repeat=3))]  # noqa: SIM905


def text(rng: random.Random, words: int) -> str:
    """Sentences and paragraphs."""
    chosen = [rng.choice(_WORDS) for _ in range(words)]
    lines = [" ".join(chosen[at : at + 15]).capitalize() + "." for at in range(0, words, 15)]
    return "\n\n".join(" ".join(lines[at : at + 5]) for at in range(0, len(lines), 5))


def protect(documents: int) -> tuple[Gates, float]:
    """Gates that hold texts against documents, and the seconds that took."""
    from streamdocs_server.gates.overlap import Protected  # noqa: PLC0415  (other commits may have none)

    rng, took = random.Random(5), 0.0

    def texts() -> Iterator[str]:
        nonlocal took
        for _ in range(documents):
            began = time.process_time()
            made = text(rng, 500)
            took -= time.process_time() - began
            yield made

    began = time.process_time()
    protected = Protected(texts())
    return Gates(protected=protected), took + time.process_time() - began


def measure(gates: Gates, words: int, n: int, documents: int = 40) -> tuple[float, float]:
    """Milliseconds for 1,000 tokens: of the first generation of each document, and over all ``n``."""
    rng, prompt = random.Random(17), Stitch(generations=1).prompt
    took, tokens = [0.0] * n, 0.0
    for _ in range(documents):
        fields = {"document": text(rng, words)}
        request = Request(kind="rephrase", template=prompt, fields=fields, n=n, max_tokens=4096)
        texts = [text(rng, words) for _ in range(n)]
        for number, each in enumerate(texts):
            began = time.process_time()
            verdict = gates.check(each, "stop", request)
            took[number] += time.process_time() - began
            assert isinstance(verdict, Accepted), verdict
            tokens += len(each) / 4 / n
    return 1e6 * took[0] / tokens, 1e6 * sum(took) / n / tokens


def measure_real() -> float:
    """Milliseconds for 1,000 tokens of the answers in the tests."""
    path = Path(__file__).parent.parent / "tests" / "server" / "gates" / "smollm2.jsonl.zst"
    gates, prompt, took, tokens = Gates(), Stitch(generations=1).prompt, 0.0, 0.0
    for entry in map(json.loads, zstandard.decompress(path.read_bytes()).splitlines()):
        # A space, so that no document is known from an earlier repetition.
        fields = {"document": entry["document"] + " " * random.randint(1, 1000)}
        request = Request(kind="rephrase", template=prompt, fields=fields, n=1, max_tokens=230)
        for answer in entry["answers"]:
            began = time.process_time()
            gates.check(answer["text"], answer["finish_reason"], request)
            took += time.process_time() - began
            tokens += len(answer["text"]) / 4
    return 1e6 * took / tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--words", type=int, default=700)
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--protected", type=int, default=0)
    arguments = parser.parse_args()
    gates, took = protect(arguments.protected) if arguments.protected else (Gates(), 0.0)
    measure(gates, arguments.words, arguments.n, documents=4)
    pairs = [measure(gates, arguments.words, arguments.n) for _ in range(arguments.repeats)]
    first, mean = (statistics.median(column) for column in zip(*pairs, strict=True))
    real = statistics.median(measure_real() for _ in range(arguments.repeats))
    result = {"first_ms_per_1k_tokens": first, "mean_ms_per_1k_tokens": mean, "real_ms_per_1k_tokens": real}
    result |= {"protected_s": took} if arguments.protected else {}
    lines = [f"{name:24} {value:.3f}" for name, value in result.items()]
    print(json.dumps(result) if arguments.json else "\n".join(lines))


if __name__ == "__main__":
    main()
