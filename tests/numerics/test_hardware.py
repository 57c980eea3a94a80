"""What computes and what decodes is part of the numerics, or of the record."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import PIL
import pytest
import torch
from PIL import features

from tests.tiny import TRAINER
from tlfw.identity.names import digest
from tlfw.numerics import hardware
from tlfw.numerics import tag as tag_room
from tlfw.numerics.environment import environment
from tlfw.numerics.tag import Numerics, numerics_of

Patch = pytest.MonkeyPatch


def tag(exact: bool = False, threads: int | None = 1) -> str:
    return digest(numerics_of(TRAINER, threads, exact).tag)


def test_the_tag_has_a_place_for_all_that_may_come() -> None:
    found = numerics_of(TRAINER, 1).tag
    assert {"device", "precision", "threads", "world_size", "memory_format", "compile", "micro_batch"} <= set(found)
    assert digest(found) == tag() != tag(threads=2)


CHANGES: dict[str, Any] = {
    "Pillow": lambda patch: patch.setattr(PIL, "__version__", "99.0"),
    "a codec": lambda patch: patch.setattr(features, "version", lambda name: "99.0"),
    "a codec less": lambda patch: patch.setattr(features, "check", lambda name: name != "webp"),
    "a plugin": lambda patch: patch.setattr(hardware.importlib.metadata, "version", lambda name: "1.0"),
    "a variable": lambda patch: patch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
    "torch": lambda patch: patch.setattr(torch, "__version__", "99.0.0"),
}
ONLY_EXACT: dict[str, Any] = {
    "the processor": lambda patch: patch.setattr(hardware, "_cpu", lambda: "another"),
    "its instructions": lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another"),
    "a variable of them": lambda patch: patch.setenv("MKL_CBWR", "COMPATIBLE"),
    "Lightning": lambda patch: patch.setattr(
        tag_room, "version", lambda name, known=version: "99.0" if name == "lightning" else known(name)
    ),
    "torch's build": lambda patch: patch.setattr(torch, "__version__", f"{torch.__version__}.post1"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_decodes_and_multiplies_is_keyed(monkeypatch: Patch, what: str) -> None:
    before = tag(), tag(exact=True)
    CHANGES[what](monkeypatch)
    assert tag() != before[0]
    assert tag(exact=True) != before[1]


@pytest.mark.parametrize("what", ONLY_EXACT)
def test_what_computes_is_keyed_where_that_is_asked_for(monkeypatch: Patch, what: str) -> None:
    before = tag(), tag(exact=True)
    assert before[0] != before[1]
    ONLY_EXACT[what](monkeypatch)
    assert tag() == before[0]
    assert tag(exact=True) != before[1]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("torch.set_float32_matmul_precision('medium')", ("cpu", "cuda")),
        ("torch.backends.fp32_precision = 'tf32'", ("cpu", "cuda")),
        ("torch.backends.cuda.matmul.allow_tf32 = True", ("cuda",)),
        ("torch.backends.cudnn.allow_tf32 = False", ("cuda",)),
        ("torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False", ("cuda",)),
        ("torch.backends.cuda.matmul.fp32_precision = 'tf32'", ("cuda",)),
        ("torch.backends.mkldnn.matmul.fp32_precision = 'bf16'", ("cpu",)),
        ("torch.backends.mkldnn.conv.fp32_precision = 'bf16'", ("cpu",)),
    ],
)
def test_however_the_precision_of_products_is_set(asked: str, seen: Sequence[str], device: str) -> None:
    """In a process of its own: torch refuses to be asked in old and new words alike."""
    code = f"""if True:
        import torch
        from tlfw.numerics.hardware import products
        before = products({device!r})
        {asked}
        print(before != products({device!r}))
        """
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(device in seen)


def test_sums_of_a_gpu_have_a_place() -> None:
    assert {"matmul", "convolution", "allow_bf16_reduced_precision_reduction"} <= set(hardware.products("cuda"))


def test_a_variable_of_nvidia_is_seen(monkeypatch: Patch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert hardware.products("cuda")["NVIDIA_TF32_OVERRIDE"] == "0"
    assert "NVIDIA_TF32_OVERRIDE" not in hardware.products("cpu")


def of_settings(**settings: Any) -> Numerics:
    return numerics_of(partial(TRAINER.func, **{**TRAINER.keywords, **settings}), 1)


def test_what_only_training_depends_on_is_not_of_features() -> None:
    base = of_settings()
    for name in ("gradient_clip_val", "limit_val_batches"):
        other = of_settings(**{name: 1})
        assert digest(other.keyed) != digest(base.keyed)
        assert digest(other.of_features) == digest(base.of_features)
    assert digest(of_settings(deterministic=False).of_features) != digest(base.of_features)


def test_a_record_always_says_where_it_was_made() -> None:
    found = environment()
    assert {"cpu", "gpu", "torch", "lightning", "pillow", "numpy", "decoders", "platform"} <= set(found)
    assert found["cpu"] == hardware.processor("cpu")
    assert torch.backends.cpu.get_cpu_capability() in found["cpu"]
    assert found["decoders"]["pillow"] == PIL.__version__
