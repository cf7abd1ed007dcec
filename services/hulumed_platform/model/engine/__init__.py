"""Engines that decode text from a prompt of token ids and visual embeddings."""
