"""The command line, and what looks at a run."""
