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

import numpy as np
import safetensors.torch
import torch
import torchvision
from pydantic import TypeAdapter
from torch import Tensor

import tlfw
from tlfw.backbones import families
from tlfw.backbones.backbone import Backbone
from tlfw.backbones.recipe import OF_TRUST, TRUST
from tlfw.backbones.weights import CHECKPOINT
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data.pictures.picture import Picture
from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.errors import ConfigError
from tlfw.records.record import replace_text, replacing
from tlfw.runs.trained_model import HEAD, RESIZED_OTHERWISE, VIEWED, Blueprint, LoadedModel, load

SCHEMA = 2
INPUT, OUTPUT = "x_BCHW", "logits_BK"
IMAGE, PROBABILITIES, LABEL, CLASSES = "image_BHWC", "probabilities_BK", "label_B", "classes_K"
CHECKED_BATCHES = (1, 3)
TOLERANCE = 1e-3
"""How far apart logits may be, as a share of the largest: other kernels round otherwise."""
PROBABILITY_TOLERANCE = 5e-4
"""How far apart probabilities may be where the preprocessing is exported too: half of what would change a label."""
PIXELS_OFF = 3e-4
"""The share of resized pixels that may be one level off: sums of floating-point numbers round otherwise."""
SMALLEST_SCALE = 1e-2
"""Logits that are all smaller are compared with this."""
VERSIONS = 18, 10
"""Of ONNX's operators and files: the least that the preprocessing takes."""
ONE_FILE_BYTES = 2**31 - 2**24
"""An ONNX file cannot be larger than 2 GiB; the weights of a larger model lie in a second file beside it."""

SMALL_STEM = "not torchvision's own stem: conv1 is Conv2d(3, …, 3, padding=1, bias=False), and maxpool is Identity()"
MNASNET = "MNASNet wants a version: state = OrderedDict(load_file(…)); state._metadata = model.state_dict()._metadata"

PREPROCESSING = TypeAdapter(Preprocessing)

Write = Callable[[LoadedModel, Path], Callable[[Tensor], Tensor]]
"""Writes a model to a file, and returns how that file's model is called: `x_BCHW` -> logits `[B, K]`."""


class Differs(RuntimeError):
    """What was exported does not say what the run's model says."""


def write_onnx(loaded: LoadedModel, file: Path) -> Callable[[Tensor], Tensor]:
    """By torch's exporter. Any batch size; images of one size."""
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
    return _in_onnxruntime(file, INPUT, OUTPUT)


def write_onnx_with_preprocessing(loaded: LoadedModel, file: Path) -> Callable[[Tensor], Tensor]:
    """The same from RGB images of any size in 8 bits to probabilities and names."""
    import onnx

    from tlfw.data.pictures.onnx_preprocessing import with_preprocessing  # onnx comes with an extra

    write_onnx(loaded, file)
    network = onnx.load(file, load_external_data=False)
    onnx.save(with_preprocessing(network, loaded.transform, loaded.classes), file)
    return _in_onnxruntime(file, IMAGE, PROBABILITIES)


def _in_onnxruntime(file: Path | bytes, given: str, asked: str) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([asked], {given: x.numpy()})[0])


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
    with replacing(file) as draft:
        safetensors.torch.save_file(state, draft, metadata={"format": "pt"})
    model = loaded.untrained()
    model.load_state_dict(safetensors.torch.load_file(file), strict=True)
    return model.eval()


FORMATS: dict[str, tuple[str, Write]] = {
    "onnx": (".onnx", write_onnx),
    "safetensors": (".safetensors", write_safetensors),
    "torchscript": (".pt", write_torchscript),
}
"""Each format's file ending and writer."""


def export(loaded: LoadedModel, form: str, out: Path, preprocess: bool = False) -> dict[str, Any]:
    """Write the model to `out`, and what using it takes to `out` + `.json`, if both say the same on random inputs.

    Args:
        form: one of `FORMATS`.
        preprocess: whether its preprocessing is in it; of `onnx` only.

    Returns:
        What the JSON says.

    Raises:
        Differs: they do not; nothing is written.
    """
    write, differ = (
        (write_onnx_with_preprocessing, difference_of_images) if preprocess else (FORMATS[form][1], difference)
    )
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as drafts:
        draft = Path(drafts) / out.name
        check = differ(loaded, write(loaded, draft))
        said = facts(loaded, form, out.name, check, preprocess)
        for file in sorted(Path(drafts).iterdir(), reverse=True):  # what belongs to `out` before `out` itself
            os.replace(file, out.with_name(file.name))
    replace_text(out.with_name(f"{out.name}.json"), json.dumps(said, indent=1) + "\n")
    return said


@torch.no_grad()
def difference(loaded: LoadedModel, exported: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The largest difference of the logits on random inputs, as a share of the largest logit, and how it was found.

    Raises:
        Differs: it is above the tolerance, or the shapes differ.
    """
    random, size, largest = torch.Generator().manual_seed(0), loaded.transform.size, 0.0
    for count in CHECKED_BATCHES:
        x_BCHW = torch.randn(count, 3, size, size, generator=random)
        expected_BK, found_BK = loaded.model(x_BCHW), exported(x_BCHW)
        _check_shape(f"{count} images", expected_BK, found_BK)
        gap = (found_BK - expected_BK).abs().max().item() / max(expected_BK.abs().max().item(), SMALLEST_SCALE)
        if not gap <= TOLERANCE:  # NaN is no small difference
            raise Differs(f"for {count} images the exported model's logits are off by {gap:.2g} of the largest")
        largest = max(largest, gap)
    return {
        "of": OUTPUT,
        "batch_sizes": list(CHECKED_BATCHES),
        "largest_relative_difference": largest,
        "tolerance": TOLERANCE,
    }


@torch.no_grad()
def difference_of_images(loaded: LoadedModel, exported: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The largest difference of a probability on random images of odd sizes, and how it was found.

    Their pixels are compared too, for a model may say nearly the same of all images.

    Raises:
        Differs: it is above the tolerance, or pixels or shapes differ.
    """
    from tlfw.data.pictures.onnx_preprocessing import PIXELS, graph_of

    own = loaded.transform
    seen = _in_onnxruntime(graph_of(own, *VERSIONS).SerializeToString(), IMAGE, PIXELS)
    level_C11 = torch.tensor(own.std)[:, None, None] * 255
    random, resize, largest, off, count = np.random.default_rng(0), own.resize, 0.0, 0, 0
    sizes = [(resize, resize), (2 * resize + 13, 3 * resize + 1), (resize // 2 + 1, resize), (40 * resize + 3, 2)]
    for height, width in sizes:
        what = f"an image of {width} x {height} pixels"
        # Not noise alone, of which resizing leaves grey.
        coarse_HWC = random.integers(0, 256, (8, 8, 3)).repeat(-(-height // 8), 0).repeat(-(-width // 8), 1)
        noisy_HWC = coarse_HWC[:height, :width] + random.integers(-60, 60, (height, width, 3))
        image_HWC = noisy_HWC.clip(0, 255).astype(np.uint8)
        x_BCHW, image_BHWC = own(Picture.of(image_HWC))[None], torch.from_numpy(image_HWC)[None]
        gap_BCHW = ((seen(image_BHWC) - x_BCHW) * level_C11).abs()
        if not gap_BCHW.max() <= 1.5:
            raise Differs(f"for {what} a pixel of the exported preprocessing is off by {gap_BCHW.max():.2g} of 255")
        off, count = off + int((gap_BCHW > 0.5).sum()), count + gap_BCHW.numel()
        expected_BK, found_BK = loaded.model(x_BCHW).softmax(1), exported(image_BHWC)
        _check_shape(what, expected_BK, found_BK)
        gap = (found_BK - expected_BK).abs().max().item()
        if not gap <= PROBABILITY_TOLERANCE:
            raise Differs(f"for {what} a probability is off by {gap:.2g}")
        largest = max(largest, gap)
    if off > PIXELS_OFF * count:
        raise Differs(f"{off} of {count} pixels of the exported preprocessing are a level off")
    return {
        "of": PROBABILITIES,
        "image_sizes": [list(size) for size in sizes],
        "largest_difference": largest,
        "tolerance": PROBABILITY_TOLERANCE,
        "labels": f"equal wherever the two likeliest classes are more than {2 * PROBABILITY_TOLERANCE:g} apart",
        "pixels_one_level_off": off / count,
        "pixels_tolerance": PIXELS_OFF,
    }


def _check_shape(what: str, expected_BK: Tensor, found_BK: Tensor) -> None:
    if found_BK.shape != expected_BK.shape:
        raise Differs(f"for {what} the exported model gives {tuple(found_BK.shape)}, not {tuple(expected_BK.shape)}")


def facts(loaded: LoadedModel, form: str, file: str, check: dict[str, Any], preprocess: bool) -> dict[str, Any]:
    """What a program that uses the exported file has to know, as plain types."""
    own, blueprint = loaded.transform, loaded.blueprint
    classes = len(loaded.classes)
    before, inside = own.in_words()
    if preprocess:
        inputs = [{"name": IMAGE, "dtype": "uint8", "shape": ["B", "H", "W", 3], "channels": own.channels}]
        outputs = [
            {"name": PROBABILITIES, "dtype": "float32", "shape": ["B", classes], "softmax": "applied"},
            {"name": LABEL, "dtype": "string", "shape": ["B"], "is": "the likeliest class of each image"},
            {"name": CLASSES, "dtype": "string", "shape": [classes], "is": "all classes, as below"},
        ]
    else:
        inputs = [{"name": INPUT, "dtype": "float32", "shape": ["B", 3, own.size, own.size]}]
        outputs = [{"name": OUTPUT, "dtype": "float32", "shape": ["B", classes], "softmax": "not applied"}]
    return {
        "schema": SCHEMA,
        "file": file,
        "format": form,
        "classes": list(loaded.classes),
        "preprocessing": {
            **PREPROCESSING.dump_python(own, mode="json"),
            "layout": "BCHW",
            "steps_before": before if preprocess else [*before, *inside],
            "steps_in_the_file": inside if preprocess else [],
        },
        "inputs": inputs,
        "outputs": outputs,
        "backbone": {**loaded.backbone.recipe(), **_in_torchvision(loaded.backbone, blueprint)},
        "check": check,
        "run_id": blueprint.run_id,
        "versions": {"tlfw": tlfw.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__},
    }


def _in_torchvision(backbone: Backbone, blueprint: Blueprint) -> dict[str, Any]:
    """How to make the model with torchvision, and what nobody would try first to get the tensors into it."""
    if not isinstance(backbone, TorchvisionBackbone):
        return {}
    name, stem = backbone.name, backbone.stem
    made = families.options(name, len(blueprint.classes[HEAD]), blueprint.preprocessing.size)
    return {
        "torchvision_options": {**made, "transform_input": True} if blueprint.transform_input else made,
        "note": SMALL_STEM if stem == "small" else MNASNET if name.startswith("mnasnet") else None,
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tlfw.export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder, outputs/runs/NAME-KEY, or its record.json")
    parser.add_argument("--format", required=True, choices=list(FORMATS), help="torchscript is what torch gives up")
    parser.add_argument("--preprocess", action="store_true", help="from images of any size to probabilities, in onnx")
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
    if chosen.preprocess and chosen.format != "onnx":
        raise ConfigError("--preprocess", f"{chosen.format} cannot hold it.", "Use --format onnx.")
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
        loaded = load(chosen.run, chosen.trust)
        check = export(loaded, chosen.format, out, chosen.preprocess)["check"]
    except (ConfigError, OSError) as problem:
        sys.exit(str(problem))
    except (Differs, torch.onnx.errors.OnnxExporterError) as problem:
        sys.exit(f"nothing was written: {problem}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    if loaded.blueprint.schema == VIEWED:
        print(f"  note: {RESIZED_OTHERWISE}")
    if chosen.preprocess:
        said = f"probabilities differ from the run's by {check['largest_difference']:.1g}, at the most"
    else:
        said = f"logits differ from the run's by {check['largest_relative_difference']:.1g} of the largest, at the most"
    print(f"{out} and {out}.json: {said}")


if __name__ == "__main__":
    main()
