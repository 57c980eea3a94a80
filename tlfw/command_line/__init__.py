"""What a person typed behind `python -m tlfw`, and what is said where it is wrong.

`arguments` reads words as Hydra takes them; `messages` turns errors of Hydra, pydantic and torch into one sentence that
names the field. Begin with `messages`.
"""
