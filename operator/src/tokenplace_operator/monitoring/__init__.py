"""Alerts and dashboards as tables: what those of a relay and of the operator itself share."""
