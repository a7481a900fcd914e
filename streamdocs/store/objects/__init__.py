"""Object stores: named bytes that are created once, by one of several, and never changed."""
