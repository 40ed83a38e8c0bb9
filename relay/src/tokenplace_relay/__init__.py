"""The token.place relay: passes ciphertext between clients and compute nodes."""

__version__ = "0.1.0"
