"""Pure functions on tensors and arrays: mixing, transforms, windows, consistency with the mixture, chroma."""
