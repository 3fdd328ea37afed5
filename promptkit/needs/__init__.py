"""What aligners can need in addition to the evaluated rows, one file per need."""
