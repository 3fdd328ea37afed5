"""Tuning: finds the best manipulation and alignment for labeled rows, and estimates its quality honestly."""
