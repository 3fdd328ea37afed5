"""Tasks: rows, labels and a template, from files or the hub."""
