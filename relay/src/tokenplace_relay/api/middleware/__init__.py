"""What runs around handlers: authentication, rate limits, CORS, metrics."""
