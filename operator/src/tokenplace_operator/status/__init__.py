"""The status of a TokenplaceRelay: pure functions, one module per condition."""
