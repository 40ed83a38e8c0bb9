"""The check of prose: words and phrases that are out, and a scanner that finds them."""
