"""A client and a compute node, for the probe and the tests."""
