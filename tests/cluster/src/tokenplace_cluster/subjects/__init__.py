"""What the tests look at: operator processes, relays, shipped manifests."""
