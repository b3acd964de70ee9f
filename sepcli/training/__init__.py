"""One loop for every trainable part: resumable, time-budgeted, safetensors out."""
