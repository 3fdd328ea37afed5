"""How demonstrations and an instruction become one prompt."""
