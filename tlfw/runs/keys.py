"""The third pass of planning: every stage, its features, and the run, each under the key of all that decides it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tlfw.data.pictures.augmentation import REVISION, varies
from tlfw.errors import at
from tlfw.identity.names import digest
from tlfw.numerics.trainer import DELIVERED
from tlfw.records.record import Trains
from tlfw.runs.check import Checked
from tlfw.runs.look import Looked
from tlfw.runs.plan import Plan, PlannedStage
from tlfw.training.features import HEADS_REVISION


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Unnamed:
    """A stage, and all that decides it but the weights that it starts from.

    Attributes:
        earlier, steps, trains: as a `PlannedStage` has them.
        numbers: what decides its weights.
        setting: as `numbers`, of what was asked and not of what came of it: repetitions of one thing have it in common.
        features: (data set, part) -> what decides its stored features.
    """

    earlier: Mapping[str, int]
    steps: int
    trains: Trains
    numbers: Mapping[str, Any]
    setting: Mapping[str, Any]
    features: Mapping[tuple[str, str], list[Any]]


def name_all(checked: Checked, looked: Looked) -> Plan:
    """The plan. Each stage's key holds that of the weights that it starts from; trains and builds nothing."""
    asked, data, network = checked.asked, looked.data, checked.network
    times: Counter[str] = Counter()
    unnamed = {name: _unnamed(checked, looked, name, times) for name in checked.stages}
    with at("backbone"):
        start, start_setting = _start(checked, looked)
    key, setting = digest(start), digest(start_setting)
    planned: list[PlannedStage] = []
    for name, each in unnamed.items():
        features = {place: digest([key, *what]) for place, what in each.features.items()}
        key, setting = digest({**each.numbers, "start": key}), digest({**each.setting, "start": setting})
        planned.append(
            PlannedStage(
                name=name,
                stage=checked.stages[name],
                key=key,
                policy=checked.policies[name],
                seed=checked.stages[name].seed_in(asked.seed),
                earlier=each.earlier,
                per_batch=looked.lengths[name].per_batch,
                steps=each.steps,
                stored=looked.stored[name],
                alone=name in looked.alone,
                features=features,
                frozen=tuple(block for block in network.blocks if block not in checked.trained[name]),
                trains=each.trains,
                random_start=not planned and asked.backbone.weights is None,
            )
        )
    return Plan(
        # What the test images belong together with decides the intervals that predictions are read for.
        key=digest([key, data.content, data.grouping]),
        setting=setting,
        stages=tuple(planned),
        data=data,
        numerics=checked.numerics.tag,
        remarks=looked.remarks,
    )


def _start(checked: Checked, looked: Looked) -> tuple[list[Any], dict[str, Any]]:
    """What decides the first weights, and what of it was asked."""
    backbone, image_size, numerics = checked.asked.backbone, looked.data.image_size, checked.numerics
    random = backbone.weights is None
    drawn = next(iter(checked.stages.values())).seed_in(checked.asked.seed) if random else None
    setting = {
        "backbone": [backbone.architecture(), random],
        "image_size": image_size,
        "precision": numerics.tag["precision"],
        "most_steps": numerics.most_steps,
    }
    return [backbone.identity(), image_size, drawn], setting


def _unnamed(checked: Checked, looked: Looked, name: str, times: Counter[str]) -> _Unnamed:
    """A stage of that name.

    Args:
        times: data set -> how many stages trained on it before; this one is counted here.
    """
    asked, data, stage, numerics = checked.asked, looked.data, checked.stages[name], checked.numerics
    length, stored, trained = looked.lengths[name], looked.stored[name], checked.trained[name]
    steps = min(length.steps, numerics.most_steps)
    earlier = {each: times[each] for each in stage.names}
    times.update(stage.names)
    # By what the best weights are selected; None: the last ones are taken.
    selecting = [asked.metric.name, stage.monitor] if asked.select == "best_val" else None
    how = {
        "policy": checked.policies[name].effect(checked.network.blocks),
        "optimizer": asked.optimizer,
        "schedule": asked.schedule,
        "trainer": numerics.keyed,
    }
    computed: Any = {"from_features": stored} if stored else "directly"
    if name in looked.alone:
        computed = {**computed, "heads": HEADS_REVISION}
    numbers = {
        **how,
        # In their order, in which sums are formed.
        "stage": [name, [*length.per_batch.items()], stage.loss_weights, steps],
        "select": [asked.select, selecting, min(asked.validations, steps) if selecting else None],
        "draws": [stage.seed_in(asked.seed), earlier],
        "data": {
            each: [data.content[each]["train"], data.content[each]["val"], data.views[each], data.balance[each]]
            for each in stage.names
        },
        "numerics": {**numerics.tag, "computed": computed},
    }
    if any(varies(data.views[each].augmentation) for each in stage.names):
        numbers["augmentation"] = REVISION
    setting = {
        **how,
        "stage": [name, [*stage.shares.items()], stage.batch_size, stage.loss_weights, str(length.asked)],
        "seed": stage.seed,
        "select": [asked.select, selecting, asked.validations if selecting else None],
        "data": {each: [data.asked[each], data.balance[each]] for each in stage.names},
    }
    # Validation is by the precision that is delivered, whatever the other is.
    of_parts = {"train": numerics.of_features, "val": {**numerics.of_features, "precision": DELIVERED}}
    served = [*((each, "train") for each in stage.names), *((each, "val") for each in times)] if stored else []
    return _Unnamed(
        earlier=earlier,
        steps=steps,
        trains="head" if not trained else "all" if set(checked.network.blocks) <= set(trained) else "blocks",
        numbers=numbers,
        setting=setting,
        features={
            (each, part): [stored, data.content[each][part], data.views[each].still, of_parts[part]]
            for each, part in served
        },
    )
