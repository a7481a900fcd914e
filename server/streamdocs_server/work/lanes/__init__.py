"""Lanes: what a server writes, scope by scope, in the order in which it is wanted."""

from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.lanes.make import make_lanes

__all__ = ["Lane", "make_lanes"]
