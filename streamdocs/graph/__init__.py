"""The graph of what documents are about: its editions, and walks through them. Arithmetic: no store, no corpus."""
