"""What may come from outside, and what has to come of it. ``make fuzz`` tries far more of it than the tests do.

By hypothesis, not by a fuzzer that follows coverage: behind the checksums, what parses is C and Rust (msgpack, zstd,
pydantic, NumPy, Arrow), in which such a fuzzer for Python sees no coverage. Inputs with structure get there at once.
"""
