"""What the student has learned, and what it has yet to: losses of what was read, by what it was read of."""
