"""Latent autoregressive source separation: codecs, token priors, likelihoods, training; audio and images."""
