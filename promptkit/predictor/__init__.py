"""The formula in one class: y = align(model(manipulate(x)))."""
