"""The running operator: work queue, workers, leader election, health endpoints."""
