"""Alerts and dashboards of a relay and of the operator, as tables."""
