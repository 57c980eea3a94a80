"""What is odd about images, and no error, is said."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.tiny import SIZE
from tlfw.data.sets import ImageFolder
from tlfw.seen import Memo, look
from tlfw.zoo import TorchvisionBackbone


def test_what_is_odd_about_images_is_said(folder, tmp_path: Path) -> None:
    root = folder("images", classes=5, val=1)

    def remarks() -> tuple[str, ...]:
        given = ImageFolder(root=str(root), image_size=SIZE)
        return look(TorchvisionBackbone(name="resnet18"), {"target": given}, tmp_path / "manifests", Memo()).remarks

    assert remarks() == ()
    for label in range(4):
        shutil.rmtree(root / "test" / f"class{label}")
        (root / "test" / f"class{label}").mkdir()
    for i in range(2):
        shutil.copy(root / "train" / "class0" / f"{i}.png", root / "train" / "class1" / f"{i}.png")
    untested, torn = remarks()
    assert untested == "target: no test image is of class0, class1, class2 and 1 more"
    assert torn.startswith("target: 2 training images are there under another class too: ")
    assert str(Path("class1") / "0.png") in torn
    assert torn.endswith("is class1 and class0")
