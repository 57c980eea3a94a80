"""From a job's overrides to its config and its experiment, as Hydra makes them, in a small part of the time.

Hydra composes once for each combination of groups' options: it reads files for that. Other overrides change what it
made by Hydra's own code. Parts of configs that are equal are instantiated once.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlfw.internals import hydra
from tlfw.internals.omegaconf import child


class Composer:
    """Composes the jobs of one multirun.

    Args:
        loader: Hydra's.
        sweep: the multirun's own config.
    """

    def __init__(self, loader: ConfigLoader, sweep: DictConfig) -> None:
        self._loader, self._sweep = loader, sweep
        self._parse = functools.cache(OverridesParser.create(config_loader=loader).parse_override)
        self._names = functools.cache(self._names_of_groups)
        self._bases: dict[tuple[str, ...], bytes] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job, equal to what Hydra's `load_sweep_config` gives.

        Raises:
            HydraException, OmegaConfBaseException: as Hydra does.
        """
        try:
            config = self._changed(overrides)
        except (HydraException, OmegaConfBaseException):
            config = None
        # What is refused is refused by Hydra, in its words.
        return self._whole(overrides) if config is None else config

    def _whole(self, overrides: Sequence[str]) -> DictConfig:
        return self._loader.load_sweep_config(self._sweep, list(overrides))

    def _changed(self, overrides: Sequence[str]) -> DictConfig | None:
        """A config that was composed with the same options, changed; None: Hydra alone knows what comes of it."""
        parsed = [self._parse(word) for word in overrides]
        choices = [each for each in parsed if self._chooses(each)]
        changes = [each for each in parsed if not self._chooses(each)]
        if any(each.is_sweep_override() or _of_hydra(each) for each in parsed):
            return None
        config = self._base(tuple(str(each.input_line) for each in choices))
        if not all(_lies_open(config, each) for each in changes):
            return None
        hydra.apply(changes, config)
        hydra.written_down(parsed, config)
        OmegaConf.copy_cache(from_config=self._sweep, to_config=config)
        return config

    def _base(self, choices: tuple[str, ...]) -> DictConfig:
        """A copy of its own of what Hydra composes with these options."""
        if choices not in self._bases:
            self._bases[choices] = pickle.dumps(self._whole(choices))
        config = pickle.loads(self._bases[choices])
        assert isinstance(config, DictConfig)
        return config

    def _chooses(self, override: Override) -> bool:
        """Whether it chooses an option of a group, which decides which files are read."""
        above, _, name = override.key_or_group.rpartition("/")
        return not isinstance(override.value(), dict) and name in self._names(above)

    def _names_of_groups(self, above: str) -> frozenset[str]:
        return frozenset(self._loader.get_group_options(above, results_filter=ObjectType.GROUP))


class Instantiator:
    """Makes experiments of configs whose interpolations are resolved, as Hydra does.

    Experiments share equal parts. To plan changes none.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Any] = {}

    def __call__(self, config: DictConfig) -> Any:
        """What the config is of.

        Raises:
            HydraException, OmegaConfBaseException: as Hydra does.
        """
        from tlfw.runs.experiment import Experiment

        values: Any = OmegaConf.to_container(config)
        words = {name: values.pop(name) for name in [*values] if name.startswith("_")}
        if words != {"_target_": f"{Experiment.__module__}.{Experiment.__qualname__}", "_convert_": "all"}:
            return instantiate(config)
        try:
            return Experiment(**{name: self._part(config, name, value) for name, value in values.items()})
        except Exception:  # Hydra says of which part it is
            return instantiate(config)

    def _part(self, config: DictConfig, name: str, plain: Any) -> Any:
        if not isinstance(plain, dict | list):
            return plain
        key = name, repr(plain)
        if key not in self._made:
            own = isinstance(plain, dict) and "_convert_" in plain
            self._made[key] = instantiate(config[name], **({} if own else {"_convert_": "all"}))
        return self._made[key]


def _of_hydra(override: Override) -> bool:
    return override.key_or_group.startswith(("hydra.", "hydra/")) or override.key_or_group == "hydra"


def _lies_open(config: DictConfig, override: Override) -> bool:
    """Whether what it changes lies where its key says: an interpolation may lead to what Hydra has not filled in yet.

    What is added or deleted is looked at before, by its value.
    """
    looks = override.is_add() or override.is_delete()
    if looks and "${" in str(override.input_line):
        return False
    names = override.key_or_group.split(".")
    node: Any = config
    for name in names if looks else names[:-1]:
        try:
            above, node = node, child(node, name)
        except LookupError:
            return True
        if OmegaConf.is_interpolation(above, name):
            return False
    return True
