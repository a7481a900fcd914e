"""Counts what was read, and of what could not be used: how much, where and why."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streamdocs.corpus.files import document_digest
from streamdocs.corpus.sources import BadRow, Document, Row, UnreadableRest
from streamdocs.errors import BadInputError

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
            if isinstance(row, BadRow):
                self.add_bad(row)
                if not seen and self.bad.total() >= HOPELESS:
                    self.check()
                continue
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
        return next(f"first in {each.file}, row {each.row}" for each in self.examples if each.cause == cause)

    def as_dict(self) -> dict[str, Any]:
        """The report's section of ``corpus.json``."""
        examples = [{"file": each.file, "row": each.row, "cause": each.cause} for each in self.examples]
        return {"rows": self.rows, "duplicates": self.duplicates, "bad": dict(self.bad), "bad_examples": examples}
