"""Searches for instructions."""
