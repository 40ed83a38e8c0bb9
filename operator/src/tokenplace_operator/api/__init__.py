"""The TokenplaceRelay API: spec, conditions, kinds and names."""
