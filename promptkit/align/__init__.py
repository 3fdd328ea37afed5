"""The way out: turns what a model returns into an answer."""
