"""The relay's state machine: nodes, requests, byte accounting."""
