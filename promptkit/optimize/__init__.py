"""Ways to make a loss small, one a file."""
