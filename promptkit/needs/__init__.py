"""What aligners can need besides the evaluated rows, one file per need."""
