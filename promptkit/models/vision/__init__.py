"""The engine `vision`: frozen image classifiers."""
