"""What tlfw uses of other libraries that these do not promise to keep: one module a library.

Each says why nothing public does, and with which version it was tried. `tests/internals` says what broke when a new
version moves it. It imports nothing of tlfw.
"""
