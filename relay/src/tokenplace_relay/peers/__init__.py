"""A client and a compute node of token.place, for the probe and the tests."""
