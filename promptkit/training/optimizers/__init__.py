"""Optimizers: AdamW, SPSA, CMA-ES, HotFlip."""
