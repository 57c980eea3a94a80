"""`python -m tlfw.export`: a run's model for other programs, checked against the original."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import Tensor

import tlfw
from tlfw import families
from tlfw.backbone import Backbone
from tlfw.errors import ConfigError
from tlfw.loaded import HEAD, Blueprint, LoadedModel, load
from tlfw.recipe import OF_TRUST, TRUST
from tlfw.record import replace_text
from tlfw.weights import CHECKPOINT
from tlfw.zoo import TorchvisionBackbone

SCHEMA = 1
INPUT, OUTPUT = "x_BCHW", "logits_BK"
CHECKED_BATCHES = (1, 3)
TOLERANCE = 1e-3
"""How far apart logits may be, as a share of the largest: other kernels round otherwise."""
SMALLEST_SCALE = 1e-2
"""Logits that are all smaller are compared with this."""
ONE_FILE_BYTES = 2**31 - 2**24
"""An ONNX file cannot be larger than 2 GiB; the weights of a larger model lie in a second file beside it."""

SMALL_STEM = "not torchvision's own stem: conv1 is Conv2d(3, …, 3, padding=1, bias=False), and maxpool is Identity()"
MNASNET = "MNASNet wants a version: state = OrderedDict(load_file(…)); state._metadata = model.state_dict()._metadata"

Write = Callable[[LoadedModel, Path], Callable[[Tensor], Tensor]]
"""Writes a model to a file, and returns how that file's model is called: `x_BCHW` -> logits `[B, K]`."""


class Differs(RuntimeError):
    """What was exported does not say what the run's model says."""


def write_onnx(loaded: LoadedModel, file: Path) -> Callable[[Tensor], Tensor]:
    """By torch's exporter. Any batch size; images of one size."""
    import onnxruntime

    size = loaded.transform.size
    tensors = loaded.model.state_dict().values()
    torch.onnx.export(
        loaded.model,
        (torch.zeros(2, 3, size, size),),
        file,
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("B")},),
        external_data=sum(tensor.nbytes for tensor in tensors) > ONE_FILE_BYTES,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x_BCHW: torch.from_numpy(session.run([OUTPUT], {INPUT: x_BCHW.numpy()})[0])


def write_torchscript(loaded: LoadedModel, file: Path) -> Callable[[Tensor], Tensor]:
    """By tracing. torch calls TorchScript deprecated; programs that load it are still in use."""
    size = loaded.transform.size
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
        # That shapes might be taken for constants. Whether they were is what the check finds out.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(loaded.model, torch.zeros(2, 3, size, size), check_trace=False)
        torch.jit.save(traced, file)
        return torch.jit.load(file)


def write_safetensors(loaded: LoadedModel, file: Path) -> Callable[[Tensor], Tensor]:
    """The tensors alone, under torchvision's names."""
    state = {name: tensor.contiguous() for name, tensor in loaded.model.state_dict().items()}
    safetensors.torch.save_file(state, file, metadata={"format": "pt"})
    model = loaded.untrained()
    model.load_state_dict(safetensors.torch.load_file(file), strict=True)
    return model.eval()


FORMATS: dict[str, tuple[str, Write]] = {
    "onnx": (".onnx", write_onnx),
    "safetensors": (".safetensors", write_safetensors),
    "torchscript": (".pt", write_torchscript),
}
"""Each format's file ending and writer."""


def export(loaded: LoadedModel, form: str, out: Path) -> dict[str, Any]:
    """Write the model to `out`, and what using it takes to `out` + `.json`, if both say the same on random inputs.

    Args:
        form: one of `FORMATS`.

    Returns:
        What the JSON says.

    Raises:
        Differs: they do not; nothing is written.
    """
    _, write = FORMATS[form]
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as drafts:
        draft = Path(drafts) / out.name
        said = facts(loaded, form, out.name, difference(loaded, write(loaded, draft)))
        for file in sorted(Path(drafts).iterdir(), reverse=True):  # what belongs to `out` before `out` itself
            os.chmod(file, 0o644)
            os.replace(file, out.with_name(file.name))
    replace_text(out.with_name(f"{out.name}.json"), json.dumps(said, indent=1) + "\n")
    return said


@torch.no_grad()
def difference(loaded: LoadedModel, exported: Callable[[Tensor], Tensor]) -> float:
    """The largest difference of the logits on random inputs, as a share of the largest logit.

    Raises:
        Differs: it is above the tolerance, or the shapes differ.
    """
    random, size, largest = torch.Generator().manual_seed(0), loaded.transform.size, 0.0
    for count in CHECKED_BATCHES:
        x_BCHW = torch.randn(count, 3, size, size, generator=random)
        expected_BK, found_BK = loaded.model(x_BCHW), exported(x_BCHW)
        if found_BK.shape != expected_BK.shape:
            raise Differs(
                f"for {count} images the exported model gives {tuple(found_BK.shape)}, not {tuple(expected_BK.shape)}"
            )
        gap = (found_BK - expected_BK).abs().max().item() / max(expected_BK.abs().max().item(), SMALLEST_SCALE)
        if not gap <= TOLERANCE:  # NaN is no small difference
            raise Differs(f"for {count} images the exported model's logits are off by {gap:.2g} of the largest")
        largest = max(largest, gap)
    return largest


def facts(loaded: LoadedModel, form: str, file: str, gap: float) -> dict[str, Any]:
    """What a program that uses the exported file has to know, as plain types."""
    view, blueprint = loaded.transform, loaded.blueprint
    size, classes = view.size, len(loaded.classes)
    return {
        "schema": SCHEMA,
        "file": file,
        "format": form,
        "classes": list(loaded.classes),
        "preprocessing": {
            "image": "upright (EXIF), in colour, without transparency",
            "resize": {"shorter_side": view.resize, "interpolation": view.interpolation, "antialias": True},
            "center_crop": [size, size],
            "channel_order": "RGB",
            "layout": "BCHW",
            "value_range": [0.0, 1.0],
            "then": "subtract mean, divide by std, for each channel",
            "mean": list(view.mean),
            "std": list(view.std),
        },
        "inputs": [{"name": INPUT, "dtype": "float32", "shape": ["B", 3, size, size]}],
        "outputs": [{"name": OUTPUT, "dtype": "float32", "shape": ["B", classes], "softmax": "not applied"}],
        "backbone": {**loaded.backbone.recipe(), **_in_torchvision(loaded.backbone, blueprint)},
        "check": {"batch_sizes": list(CHECKED_BATCHES), "largest_relative_difference": gap, "tolerance": TOLERANCE},
        "run_id": blueprint.run_id,
        "versions": {"tlfw": tlfw.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__},
    }


def _in_torchvision(backbone: Backbone, blueprint: Blueprint) -> dict[str, Any]:
    """How to make the model with torchvision, and what nobody would try first to get the tensors into it."""
    if not isinstance(backbone, TorchvisionBackbone):
        return {}
    name, stem = backbone.name, backbone.stem
    made = families.options(name, len(blueprint.classes[HEAD]), blueprint.view.size)
    return {
        "torchvision_options": {**made, "transform_input": True} if blueprint.transform_input else made,
        "note": SMALL_STEM if stem == "small" else MNASNET if name.startswith("mnasnet") else None,
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tlfw.export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder, outputs/runs/NAME-KEY, or its record.json")
    parser.add_argument("--format", required=True, choices=list(FORMATS), help="torchscript is what torch gives up")
    parser.add_argument(*TRUST, **OF_TRUST)
    parser.add_argument("--out", type=Path, help="a file; the run's name in the current folder, if not given")
    return parser.parse_args(given)


def _out(chosen: argparse.Namespace) -> Path:
    """Where to write to, checked before anything is loaded."""
    ending, _ = FORMATS[chosen.format]
    run = Path(chosen.run).expanduser().resolve()
    folder = run.parent if run.suffix == ".json" else run
    out: Path = chosen.out or Path(folder.name + ending)
    if out.suffix != ending:
        raise ConfigError("--out", f"{out} ends in {out.suffix!r}.", f"Use {ending} for {chosen.format}.")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ConfigError("--out", f"{out} cannot be written.", "Give a file in a folder that exists.")
    if out.resolve() == folder / CHECKPOINT:
        raise ConfigError("--out", f"{out} is the run's own checkpoint.", "Give another file.")
    if chosen.format == "onnx":
        needed = ("onnx", "onnxscript", "onnxruntime")
        if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
            raise ConfigError(
                "--format",
                f"onnx needs {', '.join(missing)}, not installed here.",
                "Install tlfw with its extra `export`.",
            )
    return out


def main(given: Sequence[str] | None = None) -> None:
    """Export, check, and say where it is."""
    chosen = _arguments(given)
    try:
        out = _out(chosen)
        said = export(load(chosen.run, chosen.trust), chosen.format, out)
    except (ConfigError, OSError) as problem:
        sys.exit(str(problem))
    except (Differs, torch.onnx.errors.OnnxExporterError) as problem:
        sys.exit(f"nothing was written: {problem}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    gap = said["check"]["largest_relative_difference"]
    print(f"{out} and {out}.json: logits differ from the run's by {gap:.1g} of the largest, at the most")


if __name__ == "__main__":
    main()
