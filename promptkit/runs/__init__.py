"""Run folders: their files, the records in them, and finished runs."""
