"""Metrics of single items and of whole sets."""
