"""Benchmarks of the real parts next to honest baselines; they print measured values only."""
