"""The way out: how the frozen model's output is read, one technique a file."""
