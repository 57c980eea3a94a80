"""Estimates from tables of scores: NumPy and SciPy, and nothing of runs.

`score_tables` holds values by repetition and image, `two_way` fits cells and repetitions, `behrens_fisher` gives p
values and intervals where variances are themselves estimated, and `estimate` puts them together.
docs/explanation/verdict.md explains the model. Begin with `estimate`.
"""
