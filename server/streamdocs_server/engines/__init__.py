"""Engines: whatever turns a request into text. Each lives in a module of its own, imported only where it is used."""

from streamdocs_server.engines.base import Answer, Completion, Engine, RequestRefusedError, Sampling

__all__ = ["Answer", "Completion", "Engine", "RequestRefusedError", "Sampling"]
