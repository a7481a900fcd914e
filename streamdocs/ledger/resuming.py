"""Resuming: what a state says of the sealed windows that were read before it, and whether a store holds these."""

import logging

from streamdocs._base.hashing import digest128
from streamdocs.errors import StoreError
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.windows import last_window, reseal_of, window_key

log = logging.getLogger(__name__)

_ELSEWHERE = (
    "the state comes from another store. Restore that store (or `streamdocs ledger import` its exported ledger), or "
    "start a run of another name"
)


def newest_seal(ledger: Ledger, position: int) -> tuple[int, str]:
    """The newest sealed window that begins before ``position``, and its manifest's digest; -1 and "" for none.

    It speaks for all before it. The last one that has anything of the stream may be one that only other ranks read, and
    have not sealed yet: then it is sealed here, if that needs no waiting.
    """
    mixture, reseals = ledger.run.mixture, ledger.reseals
    if ledger.run.decisions and position:
        ledger.run.decisions.make((position - 1) // mixture.window)
    last = mixture.last_before(ledger.stream.number, position) // mixture.window
    window = (position - 1) // mixture.window
    if last >= 0:
        ledger.seal_now(last)
    with ledger.store.read() as snapshot:
        if window >= 0 and snapshot.get("windows", window_key(ledger.id, window, reseals)) is None:
            window = min(window - 1, last_window(snapshot, ledger.id, reseals))
        for each in range(window, -1, -1):
            packed = snapshot.get("windows", window_key(ledger.id, each, reseals))
            if packed is not None:  # one that is missing was lost
                return each, digest128(packed).hex()
    return -1, ""


def check_resume(ledger: Ledger, position: int, seal: tuple[int, str], *, replaced: bool = False) -> None:
    """Make sure that a store sealed what was read before ``position``.

    Args:
        ledger: Of a stream, in that store.
        position, seal: Where the state stands, and the newest window that was sealed for it, with its digest.
        replaced: Also go on where that window was replaced since, because the run was sealed anew.

    Raises:
        StoreError: It did not, sealed something else, or sealed it anew.
    """
    window, digest = seal
    decisions, newest = ledger.run.decisions, (position - 1) // ledger.run.mixture.window
    if decisions and newest >= 0 and decisions.sealed(newest) is None:
        raise StoreError(f"window {newest} was never decided on in store {ledger.store.location}: {_ELSEWHERE}")
    last = ledger.run.mixture.last_before(ledger.stream.number, position)
    if last < 0:
        return
    window = window if digest else last // ledger.run.mixture.window
    packed = ledger.sealed(window)
    # Without a digest, only other ranks had read anything synthetic, and their seal was not there yet.
    if packed is not None and digest in ("", digest128(packed).hex()):
        return
    if not digest and reseal_of(window, ledger.reseals):
        return
    reseal = next((each for each in ledger.reseals if each.replaces(window, digest)), None)
    where = f"window {window}"
    if reseal and replaced:
        log.warning("%s was replaced: %s; going on at position %d with what was sealed since", where, reseal, position)
        return
    if reseal:
        raise StoreError(
            f"{where} of the state was replaced: {reseal}. Go back to a checkpoint at or before position "
            f"{reseal.window * ledger.run.mixture.window}, or go on from this one with reseal=True"
        )
    state = "was never sealed" if packed is None else "was sealed differently"
    raise StoreError(f"{where} {state} in store {ledger.store.location}: {_ELSEWHERE}")
