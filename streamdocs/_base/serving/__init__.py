"""What answers over HTTP, for a server and for whoever looks at a run."""
