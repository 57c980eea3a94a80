"""Whose code a module is, and a name for what it says.

Code that nobody has released changes under the same name: what it makes is named by its text too. That is the text of
the module, and of every module that it reaches by imports and that is neither of the standard library nor installed.
What is installed is named by its distribution and version.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

UNVERSIONED = {
    "torch": "its version is part of the numerics",
    "torchvision": "its version is part of the numerics",
    "PIL": "its version is part of the numerics",
    "lightning": "its version is part of the numerics where exact=true",
    "pydantic": "it checks settings and computes nothing",
    "hydra": "it composes settings and computes nothing",
    "omegaconf": "it composes settings and computes nothing",
}
"""Installed packages whose versions are no part of a name, and why."""

HERE = Path(__file__).resolve().parents[1]
"""tlfw itself, whose revisions are numbered (`tlfw.numerics.tag.REVISION`)."""

OUTSIDE = ("site-packages", "dist-packages")
"""Folders below the standard library's own that are not of it."""


def code_of(modules: Iterable[str]) -> str:
    """A name for the code of some modules, by their full names; the same on every machine that has this code.

    Returns:
        16 hexadecimal digits for a person's own code, with all that it imports; `name==version` for installed
        distributions; empty for the standard library, tlfw, and what is `UNVERSIONED`.

    Raises:
        TypeError: the text of one cannot be read.
    """
    asked = tuple(sorted(set(modules)))
    known = _KNOWN.get(asked)
    if known is None or not known.holds:
        known = _KNOWN[asked] = _look(asked)
    return known.name


@dataclasses.dataclass(frozen=True)
class _Code:
    """What was found out about some modules.

    Attributes:
        states: own module -> its file, and what changes when its text may have.
        places: where installed packages are looked for, and their state; None: none matter.
    """

    name: str
    states: Mapping[str, tuple[str, object]]
    places: _Places | None

    @property
    def holds(self) -> bool:
        """Whether it is still so."""
        now = self.places is None or self.places == _places()
        return now and all(_state(name, file) == state for name, (file, state) in self.states.items())


_KNOWN: dict[tuple[str, ...], _Code] = {}


def _look(modules: Iterable[str]) -> _Code:
    own: dict[str, str] = {}
    states: dict[str, tuple[str, object]] = {}
    versions: set[str] = set()
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        top = name.partition(".")[0]
        if top in UNVERSIONED:
            continue
        spec = _spec(name)
        if spec is None:  # an import that is tried, or that fails when it is reached
            if _spec(top) is None:
                versions.add(f"{top} is missing")
        elif _is_released(spec.origin):
            pass
        elif found := _distributions(top, spec):
            versions |= found
        elif spec.origin is None and spec.submodule_search_locations is not None:
            pass  # a folder without a file of its own
        else:
            text = _text(name, spec)
            own[name] = hashlib.sha256(text).hexdigest()
            states[name] = str(spec.origin), _state(name, str(spec.origin))
            queue += _reached(name, spec, text)
    code = " ".join(sorted(versions))
    if own:
        code = hashlib.sha256(json.dumps([own, sorted(versions)], sort_keys=True).encode()).hexdigest()[:16]
    return _Code(code, states, _places() if versions else None)


class _Loaded:
    """A module as it was loaded, which is another where it is loaded again, or where names are put into it."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec, self.names = module, getattr(module, "__spec__", None), len(vars(module))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Loaded)
            and self.module is other.module
            and self.spec is other.spec
            and self.names == other.names
        )


def _state(name: str, file: str) -> object:
    """What changes when a module is loaded, loaded again, or, where it is not loaded, written again."""
    module = sys.modules.get(name)
    return _state_of_file(file) if module is None else _Loaded(module)


def _state_of_file(file: str) -> tuple[int, ...]:
    try:
        stat = os.stat(file or ".")
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


@functools.cache
def own_revision() -> str:
    """A name for the text of tlfw itself, as it was when it was first asked for."""
    files = sorted(path for path in HERE.rglob("*.py"))
    texts = [[path.relative_to(HERE).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is or would be loaded from. Loads nothing."""
    if (module := sys.modules.get(name)) is not None:
        file = getattr(module, "__file__", None)
        if (spec := getattr(module, "__spec__", None)) is not None or file is None:
            return spec
        return importlib.util.spec_from_file_location(name, file)  # a script
    parent, _, _ = name.rpartition(".")
    try:
        if not parent:
            return importlib.util.find_spec(name)
        above = _spec(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        return importlib.machinery.PathFinder.find_spec(name, list(above.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None


@functools.lru_cache(maxsize=4096)
def _is_released(origin: str | None) -> bool:
    """Whether code is of the standard library or of tlfw, by where it lies: any module may have the name of one."""
    if origin in ("built-in", "frozen"):
        return True
    if origin is None:
        return False
    file = Path(origin)
    if file.resolve().is_relative_to(HERE):
        return True
    for folder in {Path(sysconfig.get_path(place)) for place in ("stdlib", "platstdlib")}:
        for there, home in ((file, folder), (file.resolve(), folder.resolve())):
            if there.is_relative_to(home) and not set(OUTSIDE) & set(there.relative_to(home).parts):
                return True
    return False


def _distributions(top: str, spec: ModuleSpec) -> frozenset[str]:
    """`name==version` of the installed distributions that a package is of; none where its file lies elsewhere.

    So what is installed as a link to a checkout (`pip install -e`) is a person's own code.
    """
    files = [spec.origin] if spec.origin is not None else list(spec.submodule_search_locations or ())
    return _distributions_in(_places(), top, tuple({str(Path(file).parent) for file in files}))


_Places = tuple[tuple[str, tuple[int, ...]], ...]


def _places() -> _Places:
    """Where packages are looked for, each with what changes when one is installed there."""
    return tuple((place, _state_of_file(place)) for place in sys.path)


@functools.lru_cache(maxsize=4096)
def _distributions_in(places: _Places, top: str, folders: tuple[str, ...]) -> frozenset[str]:
    found = set()
    for name in _installed_in(places).get(top, ()):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        root = Path(str(distribution.locate_file(""))).resolve()
        if any(Path(folder).resolve().is_relative_to(root) for folder in folders):
            found.add(f"{name}=={distribution.version}")
    return frozenset(found)


@functools.lru_cache(maxsize=4)
def _installed_in(places: _Places) -> Mapping[str, list[str]]:
    """Top-level package -> the distributions that have it."""
    return {top: sorted(set(names)) for top, names in importlib.metadata.packages_distributions().items()}


_LOADED: dict[str, tuple[object, bytes]] = {}
"""The text of a module as it was loaded: a file that is edited later is not what runs."""


def _text(name: str, spec: ModuleSpec) -> bytes:
    kept = _LOADED.get(name)
    if kept is not None and kept[0] == _state(name, str(spec.origin)):
        return kept[1]
    try:
        loader = spec.loader
        read = getattr(loader, "get_data", None)
        if spec.origin is None:
            raise OSError("it has no file")
        text = bytes(read(spec.origin)) if read else Path(spec.origin).read_bytes()
    except OSError as problem:
        raise TypeError(f"the text of module {name} cannot be read ({problem}): put it into a file") from problem
    if name in sys.modules:
        _LOADED[name] = _state(name, str(spec.origin)), text
    return text


def _reached(name: str, spec: ModuleSpec, text: bytes) -> Iterator[str]:
    """The modules that a module's code may reach, by name."""
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    parts = name.split(".")
    yield from (".".join(parts[:i]) for i in range(1, len(parts)))
    imported, unknown = _imports(text, package)
    for each in imported:
        yield each.partition(".")[0]
        if _spec(each) is not None:  # else it is a name in a module, and no module
            yield each
    module = sys.modules.get(name)
    if module is not None:  # also what came there by other ways than a written import
        for value in list(vars(module).values()):
            with contextlib.suppress(Exception):  # whatever an object does when it is asked
                home = value.__name__ if isinstance(value, ModuleType) else value.__module__
                if isinstance(home, str) and home in sys.modules:
                    yield home
    if unknown:
        yield from _beside(name, spec)


def _beside(name: str, spec: ModuleSpec) -> Iterator[str]:
    """What a module may reach by names that are not written down: the rest of its package, or of its folder."""
    top = name.partition(".")[0]
    above = _spec(top)
    places = list((above.submodule_search_locations if above is not None else None) or ())
    for place in places:
        for file in sorted(Path(place).rglob("*.py")):
            path = [top, *file.relative_to(place).with_suffix("").parts]
            yield ".".join(path[:-1] if path[-1] == "__init__" else path)
    if not places and spec.origin is not None:
        folder = Path(spec.origin).parent
        yield from (file.stem for file in sorted(folder.glob("*.py")))
        for other, module in list(sys.modules.items()):
            loaded = getattr(module, "__file__", None)
            if isinstance(loaded, str) and Path(loaded).parent == folder:
                yield other


REACHING = ("import_module", "__import__", "exec", "run_path", "run_module", "exec_module", "spec_from_file_location")
"""Functions by which code reaches other code."""


@functools.lru_cache(maxsize=256)
def _imports(text: bytes, package: str) -> tuple[tuple[str, ...], bool]:
    """The full names of what a text imports anywhere, and whether it imports by names that are not written down."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # compiled
        return (), True
    found: dict[str, None] = {}
    unknown = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update(dict.fromkeys([base, *(f"{base}.{alias.name}" for alias in node.names)]))
        elif isinstance(node, ast.Call) and (how := _called(node.func)) in REACHING:
            first = node.args[0] if node.args else None
            if how in REACHING[:2] and isinstance(first, ast.Constant) and re.match(r"\w", str(first.value)):
                found[str(first.value)] = None
            else:
                unknown = True
    return tuple(name for name in found if re.match(r"\w", name)), unknown


def _called(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
