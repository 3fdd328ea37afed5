"""Renders and encodes prompts, and queries a model with them to select and order demonstrations."""
