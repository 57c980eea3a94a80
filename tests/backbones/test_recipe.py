"""A recipe may come from anybody: nothing is imported because of it but what is trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

import tlfw
from tests.records.test_record import RECORD
from tests.runs.test_trained_model import CLASSES, STILL
from tlfw import export, predict
from tlfw.backbones.backbone import Backbone
from tlfw.backbones.model import Model
from tlfw.backbones.recipe import remade
from tlfw.backbones.weights import CHECKPOINT
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError
from tlfw.runs.trained_model import leave
from tlfw.training.train import weights_of

NET = '''
from collections import OrderedDict
from pathlib import Path

from pydantic.dataclasses import dataclass
from torch import nn

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.families import Block, Family
from tlfw.strictness import STRICT

Path(__file__).with_name("imported").touch()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Net(Backbone):
    widths: list[int]
    """Of its layers; a list, which has no hash."""

    def make(self, classes, image_size):
        layers, before = [], 3
        for width in self.widths:
            layers += [nn.Conv2d(before, width, 3, stride=2), nn.ReLU()]
            before = width
        body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(OrderedDict(body=body, fc=nn.Linear(before, classes)))

    @property
    def family(self):
        return Family(self.name, lambda model: (Block("body", ("body",)),), head=("fc",))


class Outer:
    class Inner(Net):
        pass


NOT_A_CLASS = Path.unlink
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package of a person's own, with a network in `nets`; not imported yet."""
    (tmp_path / "somebodys").mkdir()
    (tmp_path / "somebodys" / "__init__.py").touch()
    (tmp_path / "somebodys" / "nets.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield "somebodys"
    for name in set(sys.modules) - before:
        if name.startswith("somebodys"):
            del sys.modules[name]


def recipe(name: str = "somebodys.nets.Net", **fields: object) -> dict[str, object]:
    return {"class": name, "name": "net", "widths": [4, 8], **fields}


TRUSTED = ("somebodys", "somebodys.nets")


@pytest.mark.parametrize("trust", TRUSTED)
def test_what_is_trusted_is_imported(module: str, trust: str) -> None:
    made = remade(recipe(), (trust,))
    assert made.block_names() == ("body",)
    assert made.recipe() == recipe()
    assert remade(recipe("somebodys.nets.Outer.Inner"), ("somebodys",)).recipe() == recipe("somebodys.nets.Outer.Inner")


@pytest.mark.parametrize(
    "trust", [(), ("os",), ("some",), ("somebodys.net",), ("somebodys.nets.Net",), ("",), ("tlfw",)]
)
def test_what_is_not_trusted_is_not_imported(module: str, tmp_path: Path, trust: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"to import it runs its code\. If you trust that: --trust somebodys, or"):
        remade(recipe(), trust)
    assert not (tmp_path / "somebodys" / "imported").exists()
    assert not any(name.startswith("somebodys") for name in sys.modules)


@pytest.mark.parametrize(
    "name", ["this.Zen", "os.system", "tlfw.backbones.zoo.Other", "tlfw.__main__.main", "", ".", "None", "a"]
)
def test_names_of_tlfws_and_others_places_are_no_classes(name: str) -> None:
    sys.modules.pop("this", None)
    with pytest.raises(ConfigError, match="runs its code"):
        remade({"class": name, "name": "resnet18"})
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class": "somebodys.nets.NOT_A_CLASS"}, "it is no Backbone"),
        ({"class": "somebodys.nets.Path"}, "it is no Backbone"),
        ({"class": "somebodys.nets.Missing"}, "cannot be used here"),
        ({"class": "somebodys.missing.Net"}, "cannot be used here"),
        ({"class": "somebodys"}, "runs its code"),
        ({"depth": 3}, "does not take it: depth"),
        ({"widths": "wide"}, "does not take it: widths"),
        ({"weights": "/etc/passwd"}, "weights: it is no part of an architecture"),
        ({"runs": "/etc"}, "runs: it is no part of an architecture"),
    ],
)
def test_what_a_recipe_cannot_be_is_one_message(module: str, change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        remade(recipe(**change) if "class" not in change else {**recipe(), **change}, ("somebodys",))


def test_tlfws_own_need_no_trust() -> None:
    made = TorchvisionBackbone(name="resnet18", stem="small")
    assert remade(made.recipe()) == made
    assert made.recipe()["class"] == "tlfw.Torchvision"


@pytest.fixture
def left(module: str, tmp_path: Path) -> Path:
    """A run's folder with such a network, which nobody has imported since."""
    net: Backbone = remade(recipe(), ("somebodys",))
    model = Model(net, STILL.size, seed=0)
    for head, classes in CLASSES.items():
        model.add_head(head, len(classes))
    folder = tmp_path / "run"
    folder.mkdir()
    safetensors.torch.save_file(weights_of(model), folder / CHECKPOINT)
    leave(folder, model, run_id=RECORD.run_id, classes=CLASSES, preprocessing=STILL)
    RECORD.write(folder)
    (tmp_path / "somebodys" / "imported").unlink()
    for name in [name for name in sys.modules if name.startswith("somebodys")]:
        del sys.modules[name]
    return folder


def test_a_run_of_ones_own_network_is_loaded_where_it_is_trusted(left: Path, tmp_path: Path) -> None:
    assert json.loads((left / "model.json").read_text())["backbone"] == recipe()
    with pytest.raises(ConfigError, match="--trust somebodys"):
        tlfw.load(left)
    assert not (tmp_path / "somebodys" / "imported").exists()
    for trust in (["somebodys"], "somebodys", ("os", "somebodys.nets")):
        loaded = tlfw.load(left, trust=trust)
        assert loaded.model(torch.zeros(1, 3, 32, 32)).shape == (1, len(CLASSES["target"]))


@pytest.mark.parametrize("command", ["predict", "export"])
def test_both_commands_take_whom_to_trust(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from tests.conftest import paint

    monkeypatch.chdir(tmp_path)
    paint(0, 0).save("a.png")
    door, rest = (predict, ["a.png"]) if command == "predict" else (export, ["--format", "safetensors"])
    with pytest.raises(SystemExit, match="If you trust that: --trust somebodys"):
        door.main([str(left), *rest])
    with pytest.raises(SystemExit, match="--trust somebodys"):
        door.main([str(left), *rest, "--trust", "os"])
    assert not (tmp_path / "somebodys" / "imported").exists()
    door.main([str(left), *rest, "--trust", "os", "--trust", "somebodys"])
    assert (tmp_path / "somebodys" / "imported").exists()
    assert Path("predictions.csv" if command == "predict" else "run.safetensors").is_file()
