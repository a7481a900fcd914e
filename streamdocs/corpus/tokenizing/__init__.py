"""Tokenizers of corpora: taken over, tried, and used on texts of any length."""
