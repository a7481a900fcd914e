"""What can go wrong with a run that is left alone for weeks, done to it on purpose: ``python -m tests.faults``."""
