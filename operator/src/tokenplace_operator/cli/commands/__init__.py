"""The commands of `kubectl tokenplace`, one file each."""
