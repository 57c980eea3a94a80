"""Measurements and studies: each says how to run it, what to expect, and how long it takes."""
