"""Baselines without a pretrained model, one file for each: what accuracy a classifier must exceed to be worth its cost."""
