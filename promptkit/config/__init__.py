"""Settings, and the objects that are built from them."""
