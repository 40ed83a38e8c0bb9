"""The child resources that a relay should have: pure functions, one module per kind."""
