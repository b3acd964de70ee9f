"""Priors of images."""
