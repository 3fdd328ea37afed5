"""Values and protocols that the other packages share."""
