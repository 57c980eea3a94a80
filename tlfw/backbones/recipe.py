"""From a backbone's recipe, as files have it, to the backbone."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError
from tlfw.identity import former
from tlfw.identity.names import public_name

TRUST = ("--trust",)
OF_TRUST: dict[str, Any] = {
    "metavar": "MODULE",
    "action": "append",
    "default": [],
    "help": "import the run's network from this module, and run its code; may be given several times",
}
"""How a command takes the modules that it may import a network from."""

OWN = {public_name(kind): kind for kind in (TorchvisionBackbone,)}
"""tlfw's own backbones, by public name."""


def remade(recipe: Mapping[str, Any], trust: Collection[str] = ()) -> Backbone:
    """The backbone of a `Backbone.recipe`, with random weights.

    A recipe may come from anybody. Nothing is imported because of it but what is trusted.

    Args:
        trust: modules from which a class may be taken, each with all that is in it.

    Raises:
        ConfigError: its class is not trusted, cannot be had here, or is not one of a backbone.
    """
    name = former.today(str(recipe.get("class")))
    kind = OWN.get(name) or _imported(name, trust)
    fields = {field: value for field, value in recipe.items() if field != "class"}
    try:
        made = kind(**fields)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise _unfit(name, f"{first['loc'][-1]}: {first['msg']}") from problem
    except TypeError as problem:
        raise _unfit(name, str(problem)) from problem
    if unknown := [field for field in fields if field not in made.recipe()]:
        raise _unfit(name, f"{unknown[0]}: it is no part of an architecture")
    return made


def _imported(name: str, trust: Collection[str]) -> type[Backbone]:
    """A class of a person's own, if its module is trusted.

    Raises:
        ConfigError: it is not, or there is no such class.
    """
    if not _trusted(name.rpartition(".")[0], trust):
        top = name.partition(".")[0]
        raise ConfigError(
            "backbone",
            f"this run's network is {name}, and to import it runs its code.",
            f"If you trust that: --trust {top}, or trust=({top!r},) in Python.",
        )
    try:
        kind = _found(name, trust)
        if not (isinstance(kind, type) and issubclass(kind, Backbone)):
            raise TypeError("it is no Backbone")
    except (ImportError, AttributeError, TypeError, ValueError) as problem:
        raise ConfigError(
            "backbone", f"{name} cannot be used here ({problem}).", "Put its module where Python finds it."
        ) from problem
    return kind


def _trusted(name: str, trust: Collection[str]) -> bool:
    return any(module and f"{name}.".startswith(f"{module}.") for module in trust)


def _found(name: str, trust: Collection[str]) -> Any:
    """What has a name, which may be a class within a class."""
    words = name.split(".")
    for i in range(len(words) - 1, 1, -1):
        module = ".".join(words[:i])
        try:
            if _trusted(module, trust):
                return operator.attrgetter(".".join(words[i:]))(importlib.import_module(module))
        except ModuleNotFoundError as problem:
            if problem.name != module:  # it is there, and needs what is not
                raise
    return operator.attrgetter(".".join(words[1:]))(importlib.import_module(words[0]))


def _unfit(name: str, why: str) -> ConfigError:
    return ConfigError("backbone", f"{name} does not take it: {why}.", "Use its own recipe.")
