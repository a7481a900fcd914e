"""The ledger: what was sealed, whether it is still whole, and how it leaves its store."""
