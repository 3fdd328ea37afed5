"""Tasks: rows, labels and a template, read from files or the hub."""
