"""The schema's history. `python -m hulumed_platform.storage.migrations "what changes"` drafts the next step."""
