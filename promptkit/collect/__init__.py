"""Collects what aligners need from a model: which requests are sent, and how the answers become data for a fit."""
