"""The `hf` engine: PyTorch models loaded by Hugging Face transformers."""
