"""Learnable manipulations: soft prompts, prefixes, steering vectors, LoReFT, trigger tokens."""
