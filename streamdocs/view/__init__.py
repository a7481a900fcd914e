"""``streamdocs view``: a run in a browser, by the functions that the commands use."""
