"""The benchmark of the relay: `make bench-relay`."""
