"""A store that any number of machines share: a log of changes in an object store, and a replica of it on each node."""
