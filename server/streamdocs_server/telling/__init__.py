"""Telling: how it goes, over HTTP and on a terminal."""
