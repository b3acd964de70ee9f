"""Samplers that follow token log-probabilities, and their random streams; none knows that it separates."""
