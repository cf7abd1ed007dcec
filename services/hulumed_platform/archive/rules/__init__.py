"""Rules: which studies are worked on, when they are complete, and what the model is asked of them."""
