"""Export: what a run has read, or what was generated for it, as a dataset in a format of others."""
