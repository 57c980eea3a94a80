"""What computes and what decodes here: processors, the precision of their products, and the codecs of images."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import PIL
import torch
from PIL import features

PRECISIONS = {
    "cuda": {
        "matmul": ("cuda.matmul.fp32_precision", "cuda.fp32_precision", "fp32_precision"),
        "convolution": ("cudnn.conv.fp32_precision", "cudnn.fp32_precision", "fp32_precision"),
    },
    "cpu": {
        "matmul": ("mkldnn.matmul.fp32_precision", "mkldnn.fp32_precision", "fp32_precision"),
        "convolution": ("mkldnn.conv.fp32_precision", "mkldnn.fp32_precision", "fp32_precision"),
    },
}
"""Device -> operation -> where `torch.backends` says in which precision float32 is multiplied, the nearest first."""

SUMS = (
    "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "cuda.matmul.allow_bf16_reduced_precision_reduction",
    "cuda.matmul.allow_fp16_accumulation",
)
"""Where `torch.backends` says in which precision products of half precision are summed up on a GPU."""

OVERRIDES = {
    "cuda": ("NVIDIA_TF32_OVERRIDE",),
    "cpu": ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
}
"""Device -> environment variables that change the precision of products behind torch's back."""

INSTRUCTIONS = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that choose among a CPU's instructions; torch's own shows in its capability."""

CODECS = ("jpg", "libjpeg_turbo", "jpg_2000", "zlib", "zlib_ng", "libtiff", "webp", "avif")
"""What Pillow decodes with, by its own names."""

PLUGINS = ("pillow-heif", "pillow-avif-plugin")
"""Distributions that teach Pillow more formats."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a job will compute on, where that is not this process.

    Attributes:
        device: its type: `cpu`, `cuda`.
        devices: how many of them a machine has; of no interest on the CPU, whose cores any number of processes share.
        threads: of torch, where `threads` does not say; None: as many as here.
        nodes: machines of a job.
    """

    device: str
    devices: int
    threads: int | None
    nodes: int = 1


def decoders() -> dict[str, str]:
    """The versions of Pillow, of the codecs that it was built with, and of its plugins: other ones, other pixels."""
    found = {"pillow": PIL.__version__}
    for name in CODECS:
        if features.check(name):
            found[name] = str(features.version(name))
    for name in PLUGINS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def products(device: str) -> dict[str, Any]:
    """In which precision products of float32 are computed on a type of device, and what else bears on their sums.

    Returns:
        `matmul` and `convolution`: `ieee`, `tf32` or `bf16`; on GPUs the settings of `SUMS`; and the `OVERRIDES` that
        are set.
    """
    found: dict[str, Any] = {
        operation: next((said for place in places if (said := _backend(place)) not in (None, "none")), "ieee")
        for operation, places in PRECISIONS.get(device, {}).items()
    }
    if device == "cuda":
        found |= {place.rpartition(".")[2]: _backend(place) for place in SUMS}
    return found | {name: os.environ[name] for name in OVERRIDES.get(device, ()) if name in os.environ}


def _backend(place: str) -> Any:
    """A setting of `torch.backends`; None where this torch has none of that name, or does not say."""
    value: Any = torch.backends
    try:
        for word in place.split("."):
            value = getattr(value, word)
    except (AttributeError, RuntimeError):
        return _before_2_9(place)
    return value


def _before_2_9(place: str) -> str | None:
    """What older versions of torch say in other words."""
    if place == "cuda.matmul.fp32_precision":
        return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"
    if place == "cudnn.conv.fp32_precision":
        return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
    if place == "mkldnn.matmul.fp32_precision":
        return {"highest": "ieee", "high": "tf32", "medium": "bf16"}[torch.get_float32_matmul_precision()]
    return None


def processor(device: str) -> str:
    """What computes here on a type of device, for people: `NVIDIA H100 80GB HBM3`, or `AMD EPYC 7B13, AVX2`."""
    if device == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if device != "cpu":
        return device
    chosen = [f"{name}={os.environ[name]}" for name in INSTRUCTIONS if name in os.environ]
    return ", ".join([_cpu(), torch.backends.cpu.get_cpu_capability(), *chosen])


@functools.cache
def _cpu() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    try:
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        said = ""
    return said or platform.processor() or platform.machine()
