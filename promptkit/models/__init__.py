"""The frozen model: one engine a file. An engine sees requests, and never which technique made them."""
