"""Model folders, GGUF files and tokenizers on disk."""
