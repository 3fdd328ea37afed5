"""Manipulations: everything that changes what a frozen model reads."""
