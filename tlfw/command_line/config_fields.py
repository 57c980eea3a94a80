"""The full names of all fields that a config has."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlfw import CONF
from tlfw.command_line.arguments import group_choices


@functools.cache
def known_fields(words: tuple[str, ...] = ()) -> list[str]:
    """The full names of all fields of the config with the groups' options that these overrides choose."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with _own_hydra(GlobalHydra.instance()), initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        try:
            config = compose("config", overrides=group_choices(words))
        except (HydraException, OmegaConfBaseException):
            config = compose("config")
        return _leaves(OmegaConf.to_container(config), "")


@contextlib.contextmanager
def _own_hydra(instance: Any) -> Iterator[None]:
    kept, instance.hydra = instance.hydra, None
    try:
        yield
    finally:
        instance.hydra = kept


def _leaves(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict) or not node:
        return [prefix]
    return [leaf for key, value in node.items() for leaf in _leaves(value, f"{prefix}.{key}".lstrip("."))]
