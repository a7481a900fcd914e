"""Work: which item is next, who asks for it, and how its records reach the store."""
