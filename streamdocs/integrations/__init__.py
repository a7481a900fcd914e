"""What trainers of other projects want beside a dataset."""
