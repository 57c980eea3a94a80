"""A person's own code is named by all that it says, and installed code by its version."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlfw.identity.code import code_of, own_revision

Name = Callable[[str], str]

OWN = {
    "own/__init__.py": "",
    "own/parts.py": (
        "import json\nimport numpy as np\nfrom own import tools\nfrom .base import Base\n\n\n"
        "class Net(Base):\n    pass\n\n\ndef schedule(power):\n    from own.sub.late import late\n    return late\n"
    ),
    "own/tools.py": "from own.sub import constants\nPOWER = 1\n",
    "own/base.py": "import flat\n\n\nclass Base:\n    pass\n",
    "own/sub/__init__.py": "",
    "own/sub/constants.py": "TWO = 2\n",
    "own/sub/late.py": "def late(): return 1\n",
    "own/unused.py": "X = 1\n",
    "flat.py": "import own.tools\nY = 1\n",
    "lonely.py": "import torch\nfrom torch import nn\nfrom tlfw.backbones.backbone import Backbone\nimport os.path\n",
    "random_things.py": "Z = 1\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Python finds modules of a person's own; they are forgotten afterwards."""
    for name, text in OWN.items():
        write(tmp_path / name, text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    forget(before)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def forget(kept: set[str]) -> None:
    for name in set(sys.modules) - kept:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "/site-packages/" not in file and "tlfw" not in file:
            del sys.modules[name]


def named_anew(module: str, load: bool = True) -> str:
    """The name of a module's code, as a process has it that begins now."""
    forget({name for name in sys.modules if not name.startswith(("own", "flat", "lonely", "extra", "released"))})
    importlib.invalidate_caches()
    if load:
        importlib.import_module(module)
    return code_of([module])


CHANGED = {
    "own/parts.py": True,
    "own/tools.py": True,
    "own/base.py": True,
    "own/__init__.py": True,
    "own/sub/__init__.py": True,
    "own/sub/constants.py": True,
    "own/sub/late.py": True,
    "flat.py": True,
    "own/unused.py": False,
    "lonely.py": False,
    "random_things.py": False,
}


@pytest.mark.parametrize(("file", "changes"), CHANGED.items())
@pytest.mark.parametrize("load", [True, False])
def test_the_text_of_all_that_a_module_reaches_is_in_its_name(
    place: Path, file: str, changes: bool, load: bool
) -> None:
    """Whether it is loaded already or not, so that the first look and the last say the same."""
    before = named_anew("own.parts", load)
    assert before == named_anew("own.parts", not load)
    write(place / file, f"{OWN[file]}# another comment\n")
    assert (named_anew("own.parts", load) != before) == changes
    write(place / file, OWN[file])
    assert named_anew("own.parts", load) == before


@pytest.mark.parametrize(
    "how",
    [
        "import extra\n",
        "import extra as other\n",
        "from extra import *\n",
        "from extra import X as Y\n",
        "def f():\n    import extra\n",
        "try:\n    import extra\nexcept ImportError:\n    extra = None\n",
        "import importlib\nextra = importlib.import_module('extra')\n",
        "from importlib import import_module\nextra = import_module('ext' + 'ra')\n",
        "extra = __import__('extra')\n",
        "from pathlib import Path\nexec(Path(__file__.replace('lonely', 'extra')).read_text())\n",
        "import runpy\nruns = runpy.run_path(__file__.replace('lonely', 'extra'))\n",
        "import sys\ndef late(name='extra'):\n    return __import__(name)\n",
    ],
)
def test_however_another_module_is_reached(place: Path, how: str) -> None:
    write(place / "lonely.py", how)
    write(place / "extra.py", "X = 1\n")
    before = named_anew("lonely")
    write(place / "extra.py", "X = 2\n")
    assert named_anew("lonely") != before


@pytest.mark.parametrize(
    "how", ["import own.plug", "from own import plug", "from . import plug", "from .plug import X"]
)
def test_however_a_module_of_the_same_package_is_reached(place: Path, how: str) -> None:
    write(place / "own/parts.py", f"{how}\n")
    write(place / "own/plug.py", "X = 1\n")
    before = named_anew("own.parts")
    write(place / "own/plug.py", "X = 2\n")
    assert named_anew("own.parts") != before


def test_what_came_into_a_module_by_other_ways_is_in_its_name(place: Path) -> None:
    """A registry elsewhere put it there."""
    write(place / "extra.py", "import lonely\n\n\ndef f(): return 1\n\n\nlonely.f = f\n")

    def name() -> str:
        named_anew("lonely")
        importlib.import_module("extra")
        return code_of(["lonely"])

    alone, before = named_anew("lonely"), name()
    write(place / "extra.py", "import lonely\n\n\ndef f(): return 2\n\n\nlonely.f = f\n")
    assert alone != before != name()


def test_what_is_released_has_no_text_in_a_name(place: Path) -> None:
    assert code_of(["json", "os.path", "builtins", "sys", "collections.abc"]) == ""
    assert code_of(["torch.nn", "torchvision", "tlfw.backbones.backbone", "tlfw", "lightning", "pydantic"]) == ""
    assert named_anew("lonely") == code_of(["lonely", "torch", "json", "tlfw.backbones.zoo"])


def test_the_folder_is_no_part_of_a_name(place: Path, tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    before = named_anew("own.parts")
    other = tmp_path_factory.mktemp("elsewhere") / "deeper"
    shutil.copytree(place, other, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sys, "path", [str(other) if each == str(place) else each for each in sys.path])
    assert named_anew("own.parts") == before
    assert str(other) in str(sys.modules["own.parts"].__file__)


def test_a_name_is_of_the_text_that_was_loaded(place: Path) -> None:
    """A file that is edited while a sweep runs is not what the sweep runs."""
    before = named_anew("own.parts")
    write(place / "own/tools.py", "POWER = 9\n")
    assert code_of(["own.parts"]) == before
    importlib.reload(sys.modules["own.tools"])
    assert code_of(["own.parts"]) != before


def test_a_module_that_is_called_like_a_standard_one_is_a_persons_own(place: Path) -> None:
    write(place / "extra_calendar.py", "X = 1\n")
    write(place / "this.py", "X = 1\n")
    kept = sys.modules.pop("this", None)
    importlib.invalidate_caches()
    importlib.import_module("this")
    try:
        assert code_of(["this"]) != ""
    finally:
        del sys.modules["this"]
        if kept is not None:
            sys.modules["this"] = kept
    assert code_of(["antigravity"]) == ""


def release(site: Path, version: str, text: str = "X = 1\n") -> None:
    """A distribution, as pip installs it."""
    for old in site.glob("released-*.dist-info"):
        shutil.rmtree(old)
    write(site / "released/__init__.py", text)
    write(
        site / f"released-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: released\nVersion: {version}\n"
    )
    write(site / f"released-{version}.dist-info/RECORD", "released/__init__.py,,\n")


def test_what_is_installed_is_named_by_its_version(place: Path) -> None:
    release(place, "1.0")
    assert named_anew("released") == "released==1.0"
    release(place, "1.0", "X = 2\n")
    assert named_anew("released") == "released==1.0"
    release(place, "1.1", "X = 2\n")
    assert named_anew("released") == "released==1.1"


def test_the_version_of_what_a_persons_code_imports_is_in_its_name(place: Path) -> None:
    write(place / "lonely.py", "try:\n    import released\nexcept ImportError:\n    released = None\n")
    names = [named_anew("lonely")]
    for version in ("1.0", "1.1"):
        release(place, version)
        names.append(named_anew("lonely"))
    release(place, "1.0")
    assert named_anew("lonely") == names[1]
    assert len(set(names)) == 3


def test_a_checkout_that_is_installed_as_a_link_is_a_persons_own(place: Path) -> None:
    """Its text changes under the same version."""
    site = place / "site"
    release(site, "1.0")
    shutil.move(site / "released", place / "released")
    sys.path.append(str(site))
    try:
        before = named_anew("released")
        assert "==" not in before
        write(place / "released/__init__.py", "X = 2\n")
        assert named_anew("released") != before
    finally:
        sys.path.remove(str(site))


def test_what_lies_among_installed_packages_and_is_none_is_a_persons_own(place: Path) -> None:
    write(place / "lib" / "site-packages" / "extra.py", "X = 1\n")
    sys.path.append(str(place / "lib" / "site-packages"))
    try:
        assert len(named_anew("extra")) == 16
    finally:
        sys.path.remove(str(place / "lib" / "site-packages"))


def test_a_module_without_a_text_has_no_name() -> None:
    module = type(sys)("made_on_the_way")
    sys.modules["made_on_the_way"] = module
    try:
        assert code_of(["made_on_the_way"]) == "made_on_the_way is missing"
    finally:
        del sys.modules["made_on_the_way"]


def test_a_script_is_named_by_its_text(tmp_path: Path) -> None:
    def told(text: str) -> str:
        file = tmp_path / "script.py"
        file.write_text(f"from tlfw.identity.code import code_of\n{text}\nprint(code_of(['__main__']))\n")
        path = ":".join(each for each in sys.path if each)
        return subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
        ).stdout

    assert len({told("x = 1"), told("x = 1"), told("x = 2")}) == 2


def test_tlfws_own_text_has_a_name() -> None:
    assert len(own_revision()) == 16
