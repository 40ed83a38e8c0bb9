"""Code that runs around handlers: authentication, rate limits, faults, metrics."""
