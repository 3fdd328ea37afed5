"""Aligners turn a model's output into an answer: they score labels, extract answers, vote, calibrate, probe and map labels."""
