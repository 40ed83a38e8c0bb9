"""Rate limits per client address."""
