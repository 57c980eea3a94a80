"""The files and the terminal's text that a report becomes.

A column of the leaderboard is written once, in `columns`; `tables` makes CSV, Markdown, LaTeX and JSON of them, `page`
the HTML page, `terminal` what a sweep prints. It imports the findings and the figures. Begin with `columns`.
"""
