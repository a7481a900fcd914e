"""The windows of exported ledgers, replayed over generations of a store that is only read."""

from collections.abc import Mapping, Sequence

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import LedgerFileError, StoreError
from streamdocs.ledger.file import LedgerFile
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.manifest import Manifest
from streamdocs.ledger.windows import Reseal
from streamdocs.run import Run, check_fingerprint
from streamdocs.steering.decision import Decision
from streamdocs.store import Store
from streamdocs.streams import SyntheticStream


class FileLedger(Ledger):
    """A ledger whose windows are those of a file; nothing is ever sealed or written.

    Args:
        run, stream, store: As of a Ledger.
        file: Its windows.

    Raises:
        FingerprintError: The file is another run's.
        LedgerFileError: It cannot be read.
    """

    def __init__(self, run: Run, stream: SyntheticStream, store: Store, file: LedgerFile) -> None:
        super().__init__(run, stream, store, 0)
        check_fingerprint(file.fingerprint, run.fingerprint, "file")
        self._windows = file.windows
        try:
            self._known = tuple(map(Reseal.unpack, file.reseals))
            if run.decisions:
                run.decisions.assume([Decision.unpack(Manifest.unpack(packed).decision) for packed in file.windows])
        except ValueError as error:
            raise LedgerFileError(f"the ledger cannot be read ({error}): export it again") from error

    @property
    def reseals(self) -> tuple[Reseal, ...]:
        """Those of the file."""
        return self._known

    def sealed(self, window: int, reseals: tuple[Reseal, ...] | None = None) -> bytes | None:
        """The packed manifest of a window; None where the file does not have it."""
        return self._windows[window] if 0 <= window < len(self._windows) else None

    def count(self, reseals: tuple[Reseal, ...] | None = None) -> int:
        """Windows of the file."""
        return len(self._windows)

    def publish(
        self, window: int, packed: bytes, reseals: tuple[Reseal, ...], oldest_round: int | None = None
    ) -> bytes:
        """Nothing is sealed here.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"window {window} is not in the exported ledger, and nothing is sealed here")


def ledgers_of(dataset: StreamingMegadocDataset, files: Sequence[LedgerFile] = ()) -> Mapping[str, Ledger]:
    """The ledgers of a dataset's synthetic streams by their names: those of its store, or of exported ones.

    Raises:
        LedgerFileError: There is not one file for each stream.
        FingerprintError: A file is another run's.
    """
    if not files:
        return dataset.ledgers
    run, by_name = dataset.run, {file.stream: file for file in files}
    streams = {run.ledger_name(stream): stream for stream in run.synthetic}
    if by_name.keys() != streams.keys() or len(by_name) < len(files) or dataset.store is None:
        named = [", ".join(each or "the only stream" for each in names) or "none" for names in (by_name, streams)]
        raise LedgerFileError(f"the exported ledgers are of {named[0]}, the run has {named[1]}: give one for each")
    return {stream.name: FileLedger(run, stream, dataset.store, by_name[name]) for name, stream in streams.items()}
