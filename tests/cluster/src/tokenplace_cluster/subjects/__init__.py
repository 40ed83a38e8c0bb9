"""The subjects of tests: operator processes, relays, shipped manifests."""
