"""Analyses of finished runs: comparison, realignment, bias, reliability."""
