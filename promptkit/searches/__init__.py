"""Searches for the instruction of a prompt."""
