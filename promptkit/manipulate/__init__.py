"""The way in: changes what a frozen model reads."""
