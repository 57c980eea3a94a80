"""The third pass of planning: every stage, its features, and the run, each under the key of all that decides it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tlfw.errors import at
from tlfw.identity.names import digest
from tlfw.methods.mix import Stage
from tlfw.records.record import Trains
from tlfw.runs.check import Checked
from tlfw.runs.look import Looked
from tlfw.runs.plan import Plan, PlannedStage
from tlfw.training.evaluate import DELIVERED
from tlfw.training.features import stored_blocks


def name_all(checked: Checked, looked: Looked) -> Plan:
    """The plan. Each stage's key holds that of the weights that it starts from; trains and builds nothing."""
    asked, data, numerics = checked.asked, looked.data, checked.numerics
    key, setting = _start(checked, looked)
    times: Counter[str] = Counter()
    planned: list[PlannedStage] = []
    for name, stage in checked.stages.items():
        policy, length = checked.policies[name], looked.lengths[name]
        earlier = {each: times[each] for each in stage.names}
        times.update(stage.names)
        stored = stored_blocks(policy, asked.backbone, data.image_size, [data.views[each] for each in stage.names])
        served = [*((each, "train") for each in stage.names), *((each, "val") for each in times)] if stored else []
        features = {(each, part): _features_key(checked, looked, key, stored, each, part) for each, part in served}
        setting = _setting(checked, looked, name, setting)
        key = _stage_key(checked, looked, name, key, earlier, stored)
        planned.append(
            PlannedStage(
                name=name,
                stage=stage,
                key=key,
                policy=policy,
                seed=stage.seed_in(asked.seed),
                earlier=earlier,
                per_batch=length.per_batch,
                steps=_steps(checked, looked, name),
                stored=stored,
                features=features,
                frozen=tuple(block for block in checked.blocks if block not in checked.trained[name]),
                trains=_trains(checked, name),
                random_start=not planned and asked.backbone.weights is None,
            )
        )
    return Plan(
        # What the test images belong together with decides the intervals that predictions are read for.
        key=digest([key, data.content, data.grouping]),
        setting=setting,
        stages=tuple(planned),
        data=data,
        numerics=numerics.tag,
        remarks=looked.remarks,
    )


def _start(checked: Checked, looked: Looked) -> tuple[str, str]:
    """The key of the first weights, and the beginning of the setting."""
    backbone, data, numerics = checked.asked.backbone, looked.data, checked.numerics
    random = backbone.weights is None
    with at("backbone"):
        drawn = next(iter(checked.stages.values())).seed_in(checked.asked.seed) if random else None
        key = digest([backbone.identity(), data.image_size, drawn])
        setting = digest(
            {
                "backbone": [backbone.architecture(), random],
                "image_size": data.image_size,
                "precision": numerics.tag["precision"],
                "most_steps": numerics.most_steps,
            }
        )
    return key, setting


def _stage_key(checked: Checked, looked: Looked, name: str, start: str, earlier: dict[str, int], stored: int) -> str:
    """The key of a stage that begins with the weights of the key `start`."""
    asked, data, stage = checked.asked, looked.data, checked.stages[name]
    steps = _steps(checked, looked, name)
    selecting = _selecting(checked, stage)
    content = {
        each: [data.content[each]["train"], data.content[each]["val"], data.views[each], data.balance[each]]
        for each in stage.names
    }
    return digest(
        {
            **_how(checked, name),
            "start": start,
            # In their order, in which sums are formed.
            "stage": [name, [*looked.lengths[name].per_batch.items()], stage.loss_weights, steps],
            "select": [asked.select, selecting, min(asked.validations, steps) if selecting else None],
            "draws": [stage.seed_in(asked.seed), earlier],
            "data": content,
            "numerics": {**checked.numerics.tag, "computed": {"from_features": stored} if stored else "directly"},
        }
    )


def _setting(checked: Checked, looked: Looked, name: str, start: str) -> str:
    """As a stage's key, of what was asked and not of what came of it: repetitions of one thing have it in common."""
    asked, data, stage = checked.asked, looked.data, checked.stages[name]
    selecting = _selecting(checked, stage)
    length = str(looked.lengths[name].asked)
    return digest(
        {
            **_how(checked, name),
            "start": start,
            # In their order, in which sums are formed.
            "stage": [name, [*stage.shares.items()], stage.batch_size, stage.loss_weights, length],
            "seed": stage.seed,
            "select": [asked.select, selecting, asked.validations if selecting else None],
            "data": {each: [data.asked[each], data.balance[each]] for each in stage.names},
        }
    )


def _features_key(checked: Checked, looked: Looked, start: str, stored: int, data_set: str, part: str) -> str:
    """The key of what the first `stored` blocks of the weights `start` say of a part of a data set."""
    data, of_features = looked.data, checked.numerics.of_features
    # Validation is by the precision that is delivered, whatever the other is.
    numerics = {**of_features, "precision": DELIVERED} if part == "val" else of_features
    return digest([start, stored, data.content[data_set][part], data.views[data_set].still, numerics])


def _how(checked: Checked, name: str) -> dict[str, Any]:
    """How a stage is trained."""
    return {
        "policy": checked.policies[name].effect(checked.blocks),
        "optimizer": checked.asked.optimizer,
        "schedule": checked.asked.schedule,
        "trainer": checked.numerics.keyed,
    }


def _selecting(checked: Checked, stage: Stage) -> list[str] | None:
    """By what the best weights of a stage are selected; None: the last ones are taken."""
    return [checked.asked.metric.name, stage.monitor] if checked.asked.select == "best_val" else None


def _steps(checked: Checked, looked: Looked, name: str) -> int:
    return min(looked.lengths[name].steps, checked.numerics.most_steps)


def _trains(checked: Checked, name: str) -> Trains:
    trained = checked.trained[name]
    return "head" if not trained else "all" if set(checked.blocks) <= set(trained) else "blocks"
