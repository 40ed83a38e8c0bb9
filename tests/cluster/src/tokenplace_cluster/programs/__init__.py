"""Builds, installs and starts the programs of the test cluster."""
