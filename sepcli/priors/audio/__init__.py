"""Priors of audio."""
