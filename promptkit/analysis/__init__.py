"""Analyses of finished runs: comparison, calibration after the run, bias, reliability; and of engines."""
