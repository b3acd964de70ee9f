"""Protocols that pair, separate, score, summarise and report."""
