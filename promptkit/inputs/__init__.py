"""Turns raw data into model inputs."""
