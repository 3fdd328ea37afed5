"""Runs predictors over the rows of a task."""
