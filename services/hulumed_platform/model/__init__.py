"""Hulu-Med itself, at every published size: weights, vision tower, compression, projector, decoder, prompt."""
