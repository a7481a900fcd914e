"""What may come from outside, and what has to come of it. ``make fuzz`` tries far more of it than the tests do."""
