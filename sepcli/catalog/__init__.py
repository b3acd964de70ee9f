"""From the name of a prior to a separator: card → files (hashes verified) → build."""
