"""The pages, as elements: whatever is put into one is escaped."""
