"""Function vectors and steering vectors."""
