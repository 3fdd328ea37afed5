"""Baselines without a pretrained model, one per file. A classifier must exceed their accuracy to be worth its cost."""
