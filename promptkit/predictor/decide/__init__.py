"""Decisions from probabilities: when to abstain, which labels remain possible, and whether new rows differ from labeled ones.

Everything here is a function of arrays. `risk` and `label_sets` state what they guarantee and on which assumptions.
"""
