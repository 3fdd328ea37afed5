"""Grids of predictors over one task."""
