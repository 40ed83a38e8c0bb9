"""The relay's settings: one table that feeds flags, environment, help and docs."""
