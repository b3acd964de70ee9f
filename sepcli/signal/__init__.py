"""Pure functions on tensors: mixing, transforms, windows, consistency with the mixture, chroma."""
