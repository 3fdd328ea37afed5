"""The version of promptkit."""

__version__ = "0.1.0"
