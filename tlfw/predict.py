"""`python -m tlfw.predict`: a run's model says what is on your images."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlfw.backbones.recipe import OF_TRUST, TRUST
from tlfw.data.listing import ENDINGS, LeftOut, listed, said
from tlfw.data.pictures.decoding import LARGEST_IMAGE, open_image
from tlfw.data.pictures.picture import Span
from tlfw.data.pictures.preprocessing import Spanned, oddities
from tlfw.errors import ConfigError
from tlfw.escape import csv_text, printable
from tlfw.limits import most_images
from tlfw.records.record import replace_text
from tlfw.runs.trained_model import RESIZED_OTHERWISE, VIEWED, LoadedModel, load
from tlfw.training.progress import counting


def find_images(places: Sequence[Path]) -> tuple[list[Path], list[LeftOut]]:
    """Images in folders, searched recursively, and files that are named themselves; each once.

    Returns:
        The files, and what else is in the folders.

    Raises:
        ConfigError: a place does not exist or cannot be listed, or there is no image.
    """
    found: dict[Path, None] = {}
    left_out: dict[str, LeftOut] = {}
    for place in places:
        if not os.path.lexists(place):
            raise ConfigError("images", f"there is no file or folder {place}.", "Give images, or folders of images.")
        if place.is_dir():
            # As a person would write it: photos/1.jpg, and 1.jpg of the folder that is current.
            listing = listed(place, "" if place == Path(".") else os.path.join(place, ""), "images")
            found.update((Path(name), None) for name in listing.images)
            left_out |= {each.path: each for each in listing.left_out}
        else:
            found[place] = None
    if not found:
        only = said(left_out.values())
        raise ConfigError(
            "images",
            f"no image is in {', '.join(map(str, places))}{f': {only}' if only else ''}.",
            f"These endings are read: {', '.join(ENDINGS)}; without one, files that begin as images do.",
        )
    return list(found), [each for path, each in left_out.items() if Path(path) not in found]


def predict(
    loaded: LoadedModel,
    files: Sequence[Path],
    *,
    batch_size: int = 64,
    device: str = "cpu",
    top: int = 5,
    largest: int = LARGEST_IMAGE,
) -> tuple[list[dict[str, Any]], list[tuple[Path, Exception]], list[str]]:
    """What the model says of image files, which are opened a batch at a time.

    Args:
        top: how many classes a row has at the most.
        largest: pixels that a file may have.

    Returns:
        A row for each readable file, in their order: `file`, `label` and its `probability` in [0, 1], and
        `top`, the likeliest classes with their probabilities, the best first. The others, with what was wrong. And
        sentences on what is odd about images that were read.
    """
    model = loaded.model.to(device)
    rows: list[dict[str, Any]] = []
    unreadable: list[tuple[Path, Exception]] = []
    spans: dict[str, Span] = {}
    with counting("predict", len(files)) as advance, torch.inference_mode():
        for first in range(0, len(files), batch_size):
            batch = files[first : first + batch_size]
            images: dict[Path, Tensor] = {}
            for file in batch:
                try:
                    picture = open_image(file, largest)
                    images[file] = loaded.transform(picture)
                    spans[str(file)] = picture.span
                except MemoryError:  # says nothing about the image
                    raise
                except Exception as problem:  # Pillow raises many kinds for what it cannot read
                    unreadable.append((file, problem))
            if images:
                logits_BK = model(torch.stack(list(images.values())).to(device))
                best = logits_BK.float().softmax(1).topk(min(top, len(loaded.classes)))
                for file, shares, labels in zip(images, best.values.tolist(), best.indices.tolist(), strict=True):
                    likely = [
                        {"label": loaded.classes[label], "probability": share}
                        for label, share in zip(labels, shares, strict=True)
                    ]
                    rows.append({"file": str(file), **likely[0], "top": likely})
            advance(len(batch))
    return rows, unreadable, oddities(Spanned([*spans.values()], [*spans].__getitem__), loaded.transform.range)


def as_json(rows: Sequence[dict[str, Any]], top: int) -> str:
    """A list of rows."""
    return json.dumps(rows, indent=1) + "\n"


def as_csv(rows: Sequence[dict[str, Any]], top: int) -> str:
    """`file,label,probability` and from the second-best class on `label_2,probability_2,…`."""
    more = [f"{name}_{place}" for place in range(2, top + 1) for name in ("label", "probability")]
    lines = ([row["file"], *(value for likely in row["top"] for value in likely.values())] for row in rows)
    return csv_text([["file", "label", "probability", *more], *lines])


FORMATS = {".csv": as_csv, ".json": as_json}


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tlfw.predict", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder, outputs/runs/NAME-KEY, or its record.json")
    parser.add_argument("images", metavar="IMAGES", nargs="+", type=Path, help="images, or folders to search for them")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="a .csv or .json (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="images at a time (%(default)s)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="(%(default)s)")
    parser.add_argument(*TRUST, **OF_TRUST)
    parser.add_argument("--top", type=int, default=5, help="classes a row, at the most (%(default)s)")
    parser.add_argument("--largest-image", type=int, default=LARGEST_IMAGE, help="pixels of a file (%(default)s)")
    return parser.parse_args(given)


def _checked(chosen: argparse.Namespace) -> argparse.Namespace:
    """Everything that can be wrong before anything is opened."""
    if chosen.out.suffix.lower() not in FORMATS:
        raise ConfigError("--out", f"{chosen.out} ends in {chosen.out.suffix!r}.", "Use .csv or .json.")
    if chosen.out.is_dir() or not chosen.out.absolute().parent.is_dir():
        raise ConfigError("--out", f"{chosen.out} cannot be written.", "Give a file in a folder that exists.")
    for name in ("batch_size", "top", "largest_image"):
        if (value := getattr(chosen, name)) < 1:
            raise ConfigError(f"--{name.replace('_', '-')}", f"it is {value}.", "Use 1 or more.")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device", "torch finds no CUDA device here.", "Use cpu or auto.")
    return chosen


def main(given: Sequence[str] | None = None) -> None:
    """Predict, write, and name what could not be read."""
    chosen = _arguments(given)
    try:
        _checked(chosen)
        files, left_out = find_images(chosen.images)
        loaded = load(chosen.run, chosen.trust)
        if min(chosen.batch_size, len(files)) > (most := most_images(loaded.transform.size)):
            raise ConfigError(
                "--batch-size", f"{chosen.batch_size:,} images take more than half of the memory.", f"Use {most:,}."
            )
        device = ("cuda" if torch.cuda.is_available() else "cpu") if chosen.device == "auto" else chosen.device
        rows, unreadable, remarks = predict(
            loaded,
            files,
            batch_size=chosen.batch_size,
            device=device,
            top=chosen.top,
            largest=chosen.largest_image,
        )
        write = FORMATS[chosen.out.suffix.lower()]
        replace_text(chosen.out, write(rows, min(chosen.top, len(loaded.classes))))
    except (ConfigError, OSError) as problem:
        sys.exit(printable(str(problem), keep="\n"))
    except torch.OutOfMemoryError:
        sys.exit(f"--batch-size: {chosen.batch_size} images at a time are too many for this device. Use fewer.")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    if loaded.blueprint.schema == VIEWED:
        print(f"  note: {RESIZED_OTHERWISE}")
    for remark in remarks:
        print(f"  note: {printable(remark)}")
    if line := said(left_out):
        print(f"  note: {printable(line)}")
    print(printable(f"{len(rows)} images, {len(loaded.classes)} classes: {chosen.out}"))
    if unreadable:
        lines = "\n".join(f"  {printable(f'{file}: {problem}')}" for file, problem in unreadable)
        sys.exit(f"{len(unreadable)} of {len(files)} files cannot be read:\n{lines}")


if __name__ == "__main__":
    main()
