"""Signs of life of generators, and who they are, in the store."""

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgpack
from pydantic import TypeAdapter

from streamdocs._base.reports import Reports
from streamdocs._base.untrusted import unpack
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, StoreError, WaitTimeoutError
from streamdocs.recipes.keys import Generator, Writers
from streamdocs.run import differences
from streamdocs.store import Changes, Store
from streamdocs.streams import GenerationScope

log = logging.getLogger(__name__)

_GENERATOR = TypeAdapter(Generator)
_TIME = TypeAdapter(float)
_FIELDS = TypeAdapter(dict[str, str | int])


def beat(scope: GenerationScope, server: str) -> Changes:
    """What to change in a store to say that a server is alive."""
    return {_prefix(scope) + server.encode(): lambda _: msgpack.packb(time.time())}


def beats(store: Store, scope: GenerationScope) -> dict[str, float]:
    """The servers that have not said that they stopped: when each last said that it is alive, in Unix seconds.

    By their own clocks, so for people to read: what decides listens, see ``Listener``.
    """
    found = {}
    with store.read() as snapshot:
        for key, value in snapshot.scan("notes", _prefix(scope)):
            with suppress(ValueError):  # damaged
                found[key.removeprefix(_prefix(scope)).decode("utf-8", "replace")] = _TIME.validate_python(
                    unpack(value)
                )
    return found


def register_scope(store: Store, scope: GenerationScope) -> None:
    """Make it known that somebody generates for, or reads, a scope."""
    store.update(b"scope/" + scope.id, lambda _: msgpack.packb(scope.fields))


def other_scopes(store: Store, scope: GenerationScope) -> list[str]:
    """Of every other scope of which a store holds generations, in which fields it differs from this one."""
    found = []
    with store.read() as snapshot:
        for key, value in snapshot.scan("notes", b"scope/"):
            name = key.removeprefix(b"scope/")
            if name != scope.id and next(snapshot.scan("blocks", name), None):
                with suppress(ValueError):  # damaged, or of a version that did not say
                    found.append(differences(_FIELDS.validate_python(unpack(value)), scope.fields, "store"))
    return found


def is_only_scope(store: Store, scope: GenerationScope, beside: Iterable[GenerationScope] = ()) -> bool:
    """Whether nothing uses the store that may share generations with this scope: but for those ``beside``, nothing."""
    known = {scope.id, *(other.id for other in beside if not other.shares_with(scope))}
    with store.read() as snapshot:
        return all(key.removeprefix(b"scope/") in known for key, _ in snapshot.scan("notes", b"scope/"))


def stop_beating(scope: GenerationScope, server: str) -> Changes:
    """What to change in a store to say that a server has stopped."""
    return {_prefix(scope) + server.encode(): lambda _: None}


class Listener:
    """Hears whether any server of a scope is alive: by whether beats change, since clocks differ and are set back.

    Args:
        store, scope: Where, and of what.
    """

    def __init__(self, store: Store, scope: GenerationScope) -> None:
        self._store = store
        self._scope = scope
        self._heard: list[tuple[bytes, bytes]] | None = None
        self._since = 0.0

    def silent_seconds(self) -> float:
        """Since a beat was last heard, or since the first call. To be called more often than servers beat."""
        with self._store.read() as snapshot:
            beats = list(snapshot.scan("notes", _prefix(self._scope)))
        if beats != self._heard:
            # A server that says that it stops is not heard by that.
            heard = self._heard is None or set(beats) - set(self._heard)
            self._since = self._store.clock() if heard else self._since
            self._heard = beats
        return self._store.clock() - self._since


def register_generator(store: Store, generator: Generator) -> None:
    """Make a generator known to trainers that do not name theirs."""
    store.update(_generator_key(generator), lambda _: msgpack.packb(generator.fields))


def registered_generators(store: Store) -> list[Generator]:
    """Every generator that ever wrote into the store.

    Raises:
        StoreError: The note of one is damaged.
    """
    with store.read() as snapshot:
        notes = list(snapshot.scan("notes", b"generator/"))
    try:
        generators = [_GENERATOR.validate_python(unpack(value)) for _, value in notes]
        if [_generator_key(generator) for generator in generators] != [key for key, _ in notes]:
            raise ValueError("it was changed")
    except ValueError as error:
        raise StoreError(
            f"who wrote the generations in store {store.location} cannot be read ({error}): restore the store"
        ) from error
    return generators


def wait_for_generator(store: Store, timeout: float, sampling: Mapping[str, Any] | None = None) -> Generator:
    """The one generator that is registered in a store, of those with this sampling (fields of a Generator).

    Raises:
        ConfigError: There are several.
        WaitTimeoutError: None registered within ``timeout`` seconds.
    """
    started, reports = time.monotonic(), Reports()
    while True:
        known = registered_generators(store)
        found = [each for each in known if _samples(each, sampling or {})]
        if found:
            break
        others = f"; there are those of {'; '.join(str(each.fields) for each in known)}" if known else ""
        who = f" with {sampling}" if known else ""
        waited = time.monotonic() - started
        if reports.due(waited):
            log.warning(
                "waiting for `streamdocs-server` to say which model writes%s into store %s, for %.0f s now%s; with "
                "generator=, or a model in the run file, there is no need to",
                *(who, store.location, waited, others),
            )
        if waited > timeout:
            raise WaitTimeoutError(
                f"no generator{who} registered in store {store.location} in {timeout:.0f} s{others}: start "
                "`streamdocs-server` with this run file, or pass generator="
            )
        time.sleep(0.1)
    if len(found) > 1:
        names = "; ".join(str(generator.fields) for generator in found)
        raise ConfigError(f"store {store.location} holds several generators, pass one as generator=: {names}")
    return found[0]


def find_writers(file: RunFile, store: Store | None) -> Writers | None:
    """Those who write for a run file: whom it names, or else the store does; None where nothing synthetic is read.

    Raises:
        ConfigError: The store has several of whom it names none.
        WaitTimeoutError: Nobody registered in time.
    """
    if not file.synthetic:
        return None
    named = file.who_writes()
    if named or not store:
        return named
    said = file.generator.model_dump(include=set(file.generator.sampling), exclude_unset=True)
    return Writers.of(wait_for_generator(store, file.mix.wait_timeout, said))


def _samples(generator: Generator, sampling: Mapping[str, Any]) -> bool:
    return all(getattr(generator, name) == value for name, value in sampling.items())


def _prefix(scope: GenerationScope) -> bytes:
    return b"beat/" + scope.id


def _generator_key(generator: Generator) -> bytes:
    return b"generator/" + generator.fingerprint.encode()
