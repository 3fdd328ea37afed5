"""The `http` engine: OpenAI-compatible servers."""
