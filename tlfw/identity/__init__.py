"""Names for what decides a result, and what is part of them.

A result is stored under a digest of everything that decides it. Here stands how that digest is made (`names`), how a
person's own code enters it (`code`), what each field of the config says of itself (`fields`), and what earlier versions
called things (`former`). It imports the standard library and `tlfw.errors` only. Begin with `names`.
"""

from tlfw.identity.fields import by_effect, keyed, unkeyed
from tlfw.identity.names import named

__all__ = ["by_effect", "keyed", "named", "unkeyed"]
