"""Options of the command line and of study files, and the objects built from them."""
