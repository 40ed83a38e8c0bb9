"""The verbs of `kubectl tokenplace` that need pods: probe, the logs of report, the digest of pin."""
