"""Benchmarks of the real parts beside honest rivals; they print only what they saw."""
