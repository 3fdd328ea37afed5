"""Run folders: settings, records and results on disk."""
