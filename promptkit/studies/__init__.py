"""Studies: a grid of predictors over one task, what it shows, and what no model at all would get."""
