"""Programs that the test cluster runs: built, installed, started."""
