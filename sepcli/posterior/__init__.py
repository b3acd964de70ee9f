"""Posteriors p(x | m) of signals, given by their scores."""
