"""The door: HTTP in, references and prompts on. Never touches pixels or torch."""
