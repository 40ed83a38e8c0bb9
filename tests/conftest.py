"""The fixtures of a real cluster are there for all tests."""

pytest_plugins = ["tokenplace_cluster.fixtures"]
