"""From a mixture to its sources."""
