"""What reads whole instances, decodes and draws, in a process of its own.

A door imports nothing of it: a broken file costs a child and one answer, never the door. See `archive.rendering`.
"""
