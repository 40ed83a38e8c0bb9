"""From desired and live children to writes: plan, apply, drift, write backoff."""
