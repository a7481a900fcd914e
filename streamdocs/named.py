"""Streams by their names, and how their shares have to be."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from streamdocs.sections import StreamSection
from streamdocs.steering.controllers import Arms, Controller

#: Most streams of a run, and letters of a name: what a state says of them has to fit it.
MOST_STREAMS, MOST_LETTERS = 16, 24
#: Of a stream: it is part of names of files and metrics.
StreamName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=MOST_LETTERS)]
Streams = Annotated[dict[StreamName, StreamSection], Field(min_length=1, max_length=MOST_STREAMS)]


def check_shares(streams: Mapping[str, StreamSection]) -> None:
    """Make sure that shares add up to one, and that those with one for each of levels are not too many.

    Raises:
        ValueError: They do not, or are.
    """
    shares = {name: section.fraction for name, section in streams.items()}
    if none := [name for name, share in shares.items() if not share]:
        raise ValueError(f"stream {none[0]} has a share of 0: leave it out")
    if (total := sum(shares.values())) != 1:
        told = " + ".join(str(section.share) for section in streams.values())
        raise ValueError(f"the shares of streams are {told} = {total}, and have to add up to 1")
    apart = [each for name, section in streams.items() for each in section.apart(name)]
    if len({*apart}) < len(apart) or len(apart) > MOST_STREAMS or max(map(len, apart)) > MOST_LETTERS:
        raise ValueError(f"streams with one for each of levels: {', '.join(apart)}: rename or leave out some")


def check_controller(controller: Controller | None, streams: Mapping[str, StreamSection]) -> None:
    """Make sure that a controller can steer the synthetic ones of these streams.

    Raises:
        ValueError: It cannot.
    """
    if controller is None:
        return
    shares = {name: section.fraction for name, section in streams.items() if section.synthetic}
    total = float(sum(shares.values())) or 1.0
    try:
        controller.check(Arms(tuple(shares), np.array([float(share) / total for share in shares.values()])))
    except ValueError as error:
        raise ValueError(f"mix.controller: {error}") from error
