"""The searches: by chance (hunt) and of every class of interleavings (verify)."""
