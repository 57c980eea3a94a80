"""What is in a folder, and that nothing is left out in silence."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from tlfw.data import listing
from tlfw.data.listing import LeftOut, composed, folders_in, kinds, listed, said
from tlfw.errors import ConfigError


def picture(file: Path, form: str = "PNG") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (200, 0, 0)).save(file, form)
    return file


def reasons(found: listing.Listing) -> dict[str, str]:
    return {each.path: each.reason for each in found.left_out}


@pytest.mark.parametrize("ending", sorted(listing.ENDINGS))
def test_usual_endings_are_believed_in_small_and_large_letters(tmp_path: Path, ending: str) -> None:
    for name in (f"a{ending}", f"b{ending.upper()}", f"s{ending}"):
        (tmp_path / name).write_bytes(b"damaged, which is said when it is read")
    assert listed(tmp_path) == listing.Listing((f"a{ending}", f"b{ending.upper()}", f"s{ending}"), ())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("name", ["a", "photo.1", "a.jpg_large", "a.image"])
def test_without_a_known_ending_the_content_decides(tmp_path: Path, form: str, name: str) -> None:
    picture(tmp_path / name, form)
    # Many files that begin as TIFF does are more than that: only one without any ending is taken for it.
    assert listed(tmp_path).images == ((name,) if form != "TIFF" or "." not in name else ())
    assert listed(tmp_path, "x/").images in ((f"x/{name}",), ())


def test_what_is_no_image_is_named_with_the_reason(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    texts = ("notes.txt", "README", "x.dcm", "x.svg", "x.nef", "a.png~", "b.crdownload", "what.ever", ".hidden.png")
    for name in (*texts, "Thumbs.db", "a.png:Zone.Identifier", "~$a.docx", "b.pcd"):
        (tmp_path / name).write_bytes(b"no image at all, whatever it is")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    found = listed(tmp_path, "top/")
    assert found.images == ("top/0.png",)
    assert reasons(found) == {
        "top/notes.txt": "no images (.txt)",
        "top/README": "no images by ending or content (no ending)",
        "top/x.dcm": "in formats that Pillow does not read (.dcm)",
        "top/x.svg": "drawings, not pixels (.svg)",
        "top/x.nef": "raw files of a camera, which Pillow does not develop (.nef)",
        "top/a.png~": "backups or unfinished downloads (~)",
        "top/b.crdownload": "backups or unfinished downloads (.crdownload)",
        "top/what.ever": "no images by ending or content (.ever)",
        "top/b.pcd": "no images by ending or content (.pcd)",
        "top/.hidden.png": "hidden",
        "top/Thumbs.db": "of a system's own, such as thumbnails",
        "top/a.png:Zone.Identifier": "of a system's own, such as thumbnails",
        "top/~$a.docx": "of a system's own, such as thumbnails",
        "top/pipe.png": "no regular files",
        "top/gone.txt": "linked to nothing",
    }


def test_rare_formats_are_read_where_the_content_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "a.sgi", "SGI")
    assert listed(tmp_path).images == ("a.sgi",)


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".thumbnails",
     "@Recently-Snapshot", "_thumbs", "__pycache__"],
)  # fmt: skip
def test_what_a_system_keeps_beside_images_is_counted_and_not_read(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "0.png")
    for i in range(3):
        picture(tmp_path / name / "deep" / f"{i}.jpg", "JPEG")
    (left_out,) = listed(tmp_path).left_out
    assert listed(tmp_path).images == ("0.png",)
    assert (left_out.path, left_out.files) == (f"{name}/", 3)


@pytest.mark.parametrize("name", ["eadir", "trash cans", "cache", "temp", "@home", "thumbs up", "recycling"])
def test_people_have_folders_of_such_names_too(tmp_path: Path, name: str) -> None:
    picture(tmp_path / name / "0.png")
    assert listed(tmp_path).images == (f"{name}/0.png",)


def test_links_are_followed_and_nothing_counts_twice(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    picture(inside / "a" / "0.png")
    picture(outside / "1.png")
    picture(outside / "2.png")
    (inside / "sibling").symlink_to(inside / "a")
    (inside / "above").symlink_to(tmp_path)
    (inside / "self").symlink_to(inside)
    (inside / "round.txt").symlink_to(inside / "round.txt")
    (inside / "b").symlink_to(outside)
    (inside / "c").symlink_to(outside)
    (inside / "link.png").symlink_to(inside / "a" / "0.png")
    (inside / "one.png").symlink_to(tmp_path / "out" / "1.png")
    found = listed(inside)
    assert found.images == ("a/0.png", "b/1.png", "b/2.png")
    assert reasons(found) == {
        **dict.fromkeys(("above/", "self/", "sibling/", "c/", "link.png", "one.png"), listing.TWICE),
        "round.txt": listing.NOWHERE,
    }


def test_a_link_that_leads_nowhere_for_a_moment_is_no_smaller_data_set(tmp_path: Path) -> None:
    (tmp_path / "0.png").symlink_to(tmp_path / "away.png")
    assert listed(tmp_path).images == ("0.png",)


@pytest.mark.skipif(os.geteuid() == 0, reason="who may do everything may also list this folder")
def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0)
    with pytest.raises(ConfigError, match=r"root: .*/a cannot be listed"):
        listed(tmp_path)


def test_a_folder_that_went_away_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"images: .*cannot be listed"):
        listed(tmp_path / "gone", field="images")


def test_the_order_is_folder_by_folder_and_that_of_no_disk_and_no_form_of_unicode(tmp_path: Path) -> None:
    for name in ("b/1.png", "a b/2.png", "a/3.png", "a/cafe\u0301.png", "a/caff.png", "a/z/4.png"):
        picture(tmp_path / name)
    assert [composed(each) for each in listed(tmp_path).images] == [
        "a/3.png", "a/caff.png", "a/caf\xe9.png", "a/z/4.png", "a b/2.png", "b/1.png",
    ]  # fmt: skip


def test_folders_and_what_lies_beside_them(tmp_path: Path) -> None:
    for name in ("b", "a", ".git", "@eaDir"):
        (tmp_path / name).mkdir()
    picture(tmp_path / "loose.png")
    names, left_out = folders_in(tmp_path, "train/")
    assert names == ["a", "b"]
    assert {(each.path, each.reason, each.files) for each in left_out} == {
        ("train/.git/", "hidden", 0),
        ("train/@eaDir/", listing.SYSTEM, 0),
        ("train/loose.png", listing.LOOSE, 1),
    }


def test_one_line_has_the_counts_the_reasons_and_names() -> None:
    found = [LeftOut(f"{i}.txt", "no images (.txt)") for i in range(5)]
    found += [LeftOut("@eaDir/", listing.SYSTEM, 1200), LeftOut("empty/", "hidden", 0)]
    assert said(found) == (
        "1,205 files are left out: 1,200 of a system's own, such as thumbnails (@eaDir/); "
        "5 no images (.txt) (0.txt, 1.txt, 2.txt and 2 more)"
    )
    assert said([]) is None
    many = said(LeftOut(f"x.{i}", f"no images (.{i})") for i in range(20))
    assert many is not None
    assert many.endswith("; 12 for 12 other reasons")


def test_very_many_files_are_counted_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_COUNTED", 3)
    for i in range(5):
        picture(tmp_path / ".x" / f"{i}.png")
    (left_out,) = listed(tmp_path).left_out
    assert left_out.files == 3
    assert "3 or more hidden" in str(said([left_out]))


def test_kinds_are_counted() -> None:
    assert kinds(["a.PNG", "b.png", "c", "d.jpg"]) == "2 .png, 1 without ending, 1 .jpg"


def test_what_begins_as_an_image_does_is_one_in_memory_too() -> None:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "BMP")
    assert listing._BY_FIRST_BYTES.match(file.getvalue()[:32])
    assert not listing._BY_FIRST_BYTES.match(b"BM is how this text begins, and it is none")
