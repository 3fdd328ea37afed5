"""Tables, plots and the terminal."""
