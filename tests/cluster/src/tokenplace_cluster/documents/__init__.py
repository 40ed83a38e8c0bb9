"""Commands and pictures of the documentation, and the acceptance page."""
