"""Columns that a corpus keeps of its input's rows: numbers and short strings, and conditions on them."""
