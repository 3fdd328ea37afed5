"""Text: templates and their encoding as token ids."""
