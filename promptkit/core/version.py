"""The version of promptkit."""

__version__ = "0.2.0"
