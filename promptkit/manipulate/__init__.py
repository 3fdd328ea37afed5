"""The way in: what is changed in front of the frozen model, one technique a file."""
