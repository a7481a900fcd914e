"""Object stores to test against: one that keeps what S3 promises, one that does not, and one that fails."""
