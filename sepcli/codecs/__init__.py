"""x ↔ tokens: the quantizer and the autoencoders around it."""
