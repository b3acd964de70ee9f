"""p(x): models of clean sources, one file per family, each with its config, network and loss."""
