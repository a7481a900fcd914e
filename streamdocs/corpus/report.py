"""What became of the inputs of a corpus: counted, and refused where too much of it cannot be used."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streamdocs.corpus.files import document_digest
from streamdocs.corpus.inputs import Inputs, missing
from streamdocs.corpus.sources import BadRow, Document, Row, UnreadableRest
from streamdocs.errors import BadInputError, some

EXAMPLES_PER_CAUSE = 2
# So many bad rows before the first good one are no accident: most often the text field's name is wrong.
HOPELESS = 1000


@dataclass
class InputReport:
    """Rows read, duplicates, and bad rows by cause with examples; refuses more bad rows than ``max_bad``.

    ``max_bad`` is a number of rows or, below 1, a share of all rows. The unreadable rest of an input may be any number
    of rows, and so is more than every number but infinity.
    """

    max_bad: float
    rows: int = 0
    duplicates: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)
    with_rows: set[str] = field(default_factory=set)
    with_documents: set[str] = field(default_factory=set)

    def check_missing(self, files: Iterable[str]) -> None:
        """``BadInputError`` with all the files that lack their data, before any other is read."""
        if self.max_bad == math.inf:
            return
        found = [f"{file}: {reason}" for file in files if (reason := missing(file))]
        if found:
            raise BadInputError(
                f"{len(found):,} inputs cannot be read: {some(found)}. Put that right and run the same command; "
                "--max-bad inf leaves them out"
            )

    def readable(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows as they are; ``BadInputError`` at once where the rest of an input cannot be read."""
        for row in rows:
            if isinstance(row, UnreadableRest) and self.max_bad < math.inf:
                raise BadInputError(
                    f"{row.file} cannot be read to its end: after {row.row - 1:,} rows, {row.error}. Repair it or "
                    "fetch it again, and run the same command; --max-bad inf leaves out the rest, however much it is"
                )
            yield row

    def unique_documents(self, rows: Iterable[Row]) -> Iterator[tuple[Document, bytes]]:
        """The documents among the rows with their digests, the first of equal ones; holds some 100 bytes for each."""
        seen: set[bytes] = set()
        for row in rows:
            self.rows += 1
            self.with_rows.add(row.file)
            if isinstance(row, BadRow):
                self.add_bad(row)
                if not seen and self.bad.total() >= HOPELESS:
                    self.check()
                continue
            self.with_documents.add(row.file)
            digest = document_digest(row.text)
            if digest in seen:
                self.duplicates += 1
                continue
            seen.add(digest)
            yield row, digest

    def add_bad(self, row: BadRow) -> None:
        """Count a bad row; ``BadInputError`` at once where ``max_bad`` is a number and this is one too many."""
        self.bad[row.cause] += 1
        if self.bad[row.cause] <= EXAMPLES_PER_CAUSE:
            self.examples.append(row)
        if self.max_bad >= 1 or self.max_bad == 0:
            self.check()

    def check(self) -> None:
        """Raise ``BadInputError`` with the causes where there are too many bad rows among those read so far."""
        total = self.bad.total()
        if total > (self.max_bad if self.max_bad >= 1 else self.max_bad * self.rows):
            causes = "; ".join(f"{n} {cause} ({self._first(cause)})" for cause, n in self.bad.most_common())
            raise BadInputError(
                f"{total} of the {self.rows} rows read cannot be used, more than --max-bad {self.max_bad:g} allows: "
                f"{causes}. Repair the input or raise --max-bad (a number of rows, or below 1 a share of them)"
            )

    def _first(self, cause: str) -> str:
        first = next(each for each in self.examples if each.cause == cause)
        return f"first in {first.file}, row {first.row}" + (f": {first.hint}" if first.hint else "")

    def as_dict(self, inputs: Inputs) -> dict[str, Any]:
        """The report's section of ``corpus.json``: rows, and what became of each file of the inputs."""
        examples = [{"file": each.file, "row": each.row, "cause": each.cause} for each in self.examples]
        rows = {"rows": self.rows, "duplicates": self.duplicates, "bad": dict(self.bad), "bad_examples": examples}
        unusable = self.with_rows - self.with_documents
        taken = [file for file in inputs.files if file in self.with_documents]
        left_out = {
            **inputs.left_out,
            "empty": [file for file in inputs.files if file not in self.with_rows],
            "without a row that can be used": [f for f in inputs.files if f in unusable],
        }
        causes = {cause: {"files": len(files), "first": files[0]} for cause, files in left_out.items() if files}
        return {**rows, "files": len(taken), "left_out": causes}
