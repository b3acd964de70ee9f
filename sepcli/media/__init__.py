"""File ↔ tensor for audio and images, nothing else."""
