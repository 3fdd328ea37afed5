"""Fits the parameters of learnable manipulations."""
