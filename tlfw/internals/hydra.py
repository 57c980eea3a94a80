"""Hydra 1.3: how overrides change a config that is composed. Its public interface composes the whole config for it."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig


def apply(overrides: Sequence[Override], config: DictConfig) -> None:
    """Change a config by overrides that choose no option of a group, in their order.

    Raises:
        HydraException: one of them cannot be applied.
    """
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def written_down(overrides: Sequence[Override], config: DictConfig) -> None:
    """Let Hydra's part of a config say by which overrides of the task it was made.

    The part is writable.
    """
    job = config.hydra.job
    config.hydra.overrides.task = [override.input_line for override in overrides]
    how = job.config.override_dirname
    job.override_dirname = get_overrides_dirname(
        overrides=list(overrides), kv_sep=how.kv_sep, item_sep=how.item_sep, exclude_keys=how.exclude_keys
    )
