"""What is in a folder: its images, and what is none of them, with the reason.

A file is an image if it has an image's ending, or else if its first bytes are an image's. What begins with a dot, what
a system keeps for itself beside the images, and what is no regular file is left out. Nothing is left out in silence.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from tlfw.errors import ConfigError, first_three

FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "PCX": (".pcx",),
    "ICO": (".ico",),
    "PSD": (".psd",),
}
"""Formats whose endings are believed: Pillow's name (HEIF by pillow-heif) -> endings, in small letters."""

RARE: dict[str, tuple[str, ...]] = {
    "BLP": (".blp",),
    "CUR": (".cur",),
    "DCX": (".dcx",),
    "DDS": (".dds",),
    "FLI": (".fli", ".flc"),
    "FTEX": (".ftc", ".ftu"),
    "ICNS": (".icns",),
    "IM": (".im",),
    "MSP": (".msp",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "SUN": (".ras",),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
"""Formats that Pillow reads and whose endings mean other things too (`.ras`, `.rgb`): the content decides.

Not among them: what another program would have to draw (EPS, WMF), what is a stub (HDF5), and raw files of cameras, in
which Pillow would find the small preview.
"""

ENDINGS = dict.fromkeys(ending for endings in FORMATS.values() for ending in endings)

_RARE = {ending: name for name, endings in RARE.items() for ending in endings}

_BY_FIRST_BYTES = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"
    rb"|RIFF.{4}WEBP"
    rb"|.{4}ftyp(avi[fs]|hei[cxms]|hev[cxms]|mif1|msf1)"
    rb"|\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000, and its bare stream
    rb"|8BPS\x00\x01",
    re.DOTALL,
)
_TIFF = re.compile(rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]")
_FIRST_BYTES = 32


def _endings(reason: str, text: str) -> dict[str, str]:
    return {f".{ending}": reason for ending in text.split()}


_OTHERS: dict[str, str] = {
    **_endings(
        "no images",
        "txt json jsonl ndjson xml csv tsv yaml yml toml ini cfg conf log md rst html htm mhtml css js ts py pyc ipynb "
        "sh bat c h cpp java r m lua tex bib rtf doc docx xls xlsx ppt pptx odt ods url lnk webloc "
        "desktop db sqlite sqlite3 pkl pickle pt pth ckpt safetensors onnx bin tfrecord tfrecords lmdb mdb parquet "
        "feather arrow zip tar gz tgz bz2 xz zst 7z rar iso exe dll so dylib sha256 sha1 md5 sum license cache idx "
        "lock aae xmp thm mp4 mov avi mkv webm wmv m4v mpg mpeg 3gp flv mp3 wav ogg flac m4a srt",
    ),
    **_endings(
        "raw files of a camera, which Pillow does not develop",
        "raw dng nef nrw cr2 cr3 crw arw sr2 srf srw orf rw2 raf pef ptx x3f kdc dcr k25 mrw 3fr fff iiq cap erf mef "
        "mos rwl gpr",
    ),
    **_endings("drawings, not pixels", "svg svgz eps ps ai pdf wmf emf cdr dxf"),
    **_endings(
        "in formats that Pillow does not read",
        "jxl exr hdr dcm dicom dic ima nii nrrd nhdr mha mhd img npy npz mat h5 hdf5 hdf nc "
        "svs ndpi scn mrxs czi lif nd2 vsi oib oif ims xcf kra psb cgm flif bpg pict pct",
    ),
    **_endings(
        "backups or unfinished downloads",
        "bak bk backup old orig tmp temp part partial crdownload download opdownload swp swo filepart",
    ),
}
"""Endings of what is no image that is read -> why. Such files are not opened."""

_SYSTEM_FOLDER = re.compile(
    r"[@#$~]+[ _]*(ea_?dir|recycle|recently-snapshot|snapshots?|thumb(s|nails?)?|te?mp|trash|share(bin|snap)|syno\w*"
    r"|s2s|database|app(store|data|conf|home|temp|share)|autoupdate|img_bkp_cache|deleted(_subvol)?|metadata|cache"
    r"|transcode|upload_cache|qini)([-_. ].*)?"
    r"|__macosx|__pycache__|lost\+found|lost\.dir|system volume information|recycler|recycle ?bin"
    r"|network trash folder|temporary items|thevolumesettingsfolder|_gsdata_|_vti_cnf|_thumbs?|_thumbnails?",
    re.IGNORECASE,
)
"""Of Synology, QNAP, Asustor and other network disks, macOS, Windows, Linux."""

_SYSTEM_FILE = re.compile(
    r"thumbs\.db(:.*)?|ehthumbs(_vista)?\.db|desktop\.ini|icon\r|picasa\.ini|zbthumbnail\.info|pspbrwse\.jbf"
    r"|.*@syno(eastream|resource)|.*:(zone\.identifier|encryptable|afp_afpinfo|com\.apple\..*)|~\$.*|synophoto_.*"
    r"|synoindex_.*",
    re.IGNORECASE,
)

HIDDEN = "hidden"
SYSTEM = "of a system's own, such as thumbnails"
TWICE = "linked to what is there already"
NOWHERE = "linked to nothing"
SPECIAL = "no regular files"
LOOSE = "images outside of class folders"

MOST_COUNTED = 10_000
"""Files of a folder that is left out are counted up to here."""

MOST_REASONS = 8


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Something in a folder that is no image of it.

    Attributes:
        path: relative to where was looked, with `/` between folders and at the end of a folder.
        reason: why, as in "3 are …".
        files: how many it stands for.
    """

    path: str
    reason: str
    files: int = 1


@dataclasses.dataclass(frozen=True)
class Listing:
    """What is in a folder.

    Attributes:
        images: paths as of `LeftOut`, sorted by `in_order`.
        left_out: everything else.
    """

    images: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


@dataclasses.dataclass
class _Inside:
    """What is right inside one folder, sorted out. `linked` are links to images, `links` are links to folders."""

    images: list[os.DirEntry[str]] = dataclasses.field(default_factory=list)
    linked: list[os.DirEntry[str]] = dataclasses.field(default_factory=list)
    folders: list[os.DirEntry[str]] = dataclasses.field(default_factory=list)
    links: list[os.DirEntry[str]] = dataclasses.field(default_factory=list)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)


def composed(text: str) -> str:
    """Text in Unicode's form NFC, where a letter and its accent are one: macOS takes them apart in names."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def in_order(path: str) -> str:
    """By what paths are sorted: folder by folder, and equally in all forms that Unicode has of a name."""
    return composed(path).replace("/", "\0")


def listed(folder: str | os.PathLike[str], below: str = "", field: str = "root") -> Listing:
    """All that is below a folder, links followed. What is reached twice, by a link, counts once.

    Args:
        below: what comes before each path.
        field: the setting that led here, for complaints.

    Raises:
        ConfigError: a folder cannot be listed, which says nothing about its images.
    """
    images: list[str] = []
    left_out: list[LeftOut] = []
    linked: list[tuple[str, os.DirEntry[str]]] = []
    regular: list[tuple[int, list[os.DirEntry[str]]]] = []
    seen: set[tuple[int, int]] = set()
    start = os.path.realpath(folder)
    folders: list[tuple[str, str]] = [(os.fspath(folder), below)]
    links: list[tuple[str, str]] = []
    while folders or links:
        place, above = folders.pop() if folders else links.pop(0)  # links last: what they lead to may be here itself
        identity = _identity(place, field)
        if identity in seen:
            left_out.append(LeftOut(above, TWICE))
            continue
        seen.add(identity)
        inside = _inside(place, above, field)
        images += [above + entry.name for entry in inside.images]
        left_out += inside.left_out
        regular.append((identity[0], inside.images))
        linked += [(above + entry.name, entry) for entry in inside.linked]
        folders += [(entry.path, f"{above}{entry.name}/") for entry in inside.folders]
        for entry in sorted(inside.links, key=lambda entry: in_order(entry.name)):
            path = f"{above}{entry.name}/"
            if _holds(os.path.realpath(entry.path), start):  # with this folder it would bring all that lies beside it
                left_out.append(LeftOut(path, TWICE))
            else:
                links.append((entry.path, path))
    if linked:
        files = {(device, entry.inode()) for device, entries in regular for entry in entries}
        for path, entry in sorted(linked, key=lambda each: in_order(each[0])):
            stat = _stat(entry)
            if stat is not None and (stat.st_dev, stat.st_ino) in files:
                left_out.append(LeftOut(path, TWICE))
            else:
                images.append(path)
                files |= {(stat.st_dev, stat.st_ino)} if stat else set()
    return Listing(tuple(sorted(images, key=in_order)), tuple(left_out))


def folders_in(folder: str | os.PathLike[str], below: str = "", field: str = "root") -> tuple[list[str], list[LeftOut]]:
    """The names of the folders right inside a folder, sorted, and what else is there: images too, which lie in none.

    Args:
        below, field: as of `listed`.

    Raises:
        ConfigError: the folder cannot be listed, or a link in it that may be to a folder leads nowhere.
    """
    inside = _inside(os.fspath(folder), below, field)
    loose = []
    for entry in (*inside.images, *inside.linked):
        if ending_of(entry.name) not in ENDINGS and _stat(entry) is None:
            raise ConfigError(
                field, f"{entry.path} is a link that leads nowhere.", "Bring back what it leads to, or remove it."
            )
        loose.append(LeftOut(below + entry.name, LOOSE))
    names = sorted((entry.name for entry in (*inside.folders, *inside.links)), key=in_order)
    return names, [*inside.left_out, *loose]


def files_below(folder: str) -> int:
    """How many files are below a folder, up to `MOST_COUNTED`. Links are not followed."""
    count = 0
    for _, _, files in os.walk(folder):
        count += len(files)
        if count >= MOST_COUNTED:
            return MOST_COUNTED
    return count


def said(left_out: Iterable[LeftOut], what: str = "files") -> str | None:
    """One line on all that is left out: how many there are for each reason, with names; None where there is nothing."""
    reasons: defaultdict[str, list[LeftOut]] = defaultdict(list)
    for each in left_out:
        if each.files:
            reasons[each.reason].append(each)
    if not reasons:
        return None
    counts = {reason: sum(each.files for each in found) for reason, found in reasons.items()}
    ranked = sorted(reasons, key=lambda reason: (-counts[reason], reason))
    parts = [
        f"{counts[reason]:,}{' or more' * (counts[reason] >= MOST_COUNTED)} {reason} "
        f"({first_three(sorted((each.path for each in reasons[reason]), key=in_order))})"
        for reason in ranked[:MOST_REASONS]
    ]
    if rest := ranked[MOST_REASONS:]:
        parts.append(f"{sum(counts[reason] for reason in rest):,} for {len(rest)} other reasons")
    return f"{sum(counts.values()):,} {what} are left out: {'; '.join(parts)}"


def kinds(names: Iterable[str]) -> str:
    """How many of these files have which ending, the most frequent first, for people."""
    found = Counter(ending_of(name) for name in names).most_common()
    shown = [f"{count:,} {ending or 'without ending'}" for ending, count in found[:MOST_REASONS]]
    return ", ".join(shown) + (f" and {len(found) - MOST_REASONS} more kinds" if len(found) > MOST_REASONS else "")


def ending_of(name: str) -> str:
    """The ending of a file's name in small letters, with its dot; empty where there is none."""
    dot = name.rfind(".")
    if dot > 0 and name[dot - 1] not in "./" and name.find("/", dot) < 0:  # nearly always, so quickly
        return name[dot:].lower()
    return os.path.splitext(name)[1].lower()


def first_bytes(path: str | os.PathLike[str]) -> bytes:
    """By which many formats are known."""
    with open(path, "rb", buffering=0) as file:
        return file.read(_FIRST_BYTES)


def _inside(folder: str, below: str, field: str) -> _Inside:
    found = _Inside()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _sort(entry, below, found)
    except OSError as problem:
        raise _unlisted(folder, field, problem) from problem
    return found


def _sort(entry: os.DirEntry[str], below: str, found: _Inside) -> None:
    """Put an entry of a folder where it belongs."""
    name, link = entry.name, entry.is_symlink()
    ending = ending_of(name)
    if ending in ENDINGS and not link and name[0] not in "._sS" and entry.is_file():  # nearly always, so quickly
        found.images.append(entry)
        return
    try:
        folder = entry.is_dir()
    except OSError:  # a link to itself
        folder = False
    if not folder:
        reason = _no_image(entry, ending, link)
        if reason:
            found.left_out.append(LeftOut(below + name, reason))
        else:
            (found.linked if link else found.images).append(entry)
    elif reason := HIDDEN if name[0] == "." else SYSTEM if _SYSTEM_FOLDER.fullmatch(name) else None:
        found.left_out.append(LeftOut(f"{below}{name}/", reason, 1 if link else files_below(entry.path)))
    else:
        (found.links if link else found.folders).append(entry)


def _no_image(entry: os.DirEntry[str], ending: str, link: bool) -> str | None:
    """Why a file is no image; None: it is one, or has to be one, as far as can be known."""
    name = entry.name
    if name[0] == ".":
        return HIDDEN
    if _SYSTEM_FILE.fullmatch(name):
        return SYSTEM
    if link and not os.path.exists(entry.path):
        # What is away for a moment must not make another data set: it is an error when it is read.
        return NOWHERE if ending in _OTHERS else None
    if not entry.is_file():
        return SPECIAL
    if ending in ENDINGS:
        return None
    if name.endswith("~"):
        return f"{_OTHERS['.bak']} (~)"
    if ending in _OTHERS:
        return f"{_OTHERS[ending]} ({ending})"
    return None if _is_image(entry.path, ending) else f"no images by ending or content ({ending or 'no ending'})"


def _is_image(path: str, ending: str) -> bool:
    """Whether a file without an image's ending holds one. What the system does not open is an error when it is read."""
    try:
        if ending in _RARE:
            from PIL import Image

            with contextlib.suppress(Exception), Image.open(path, formats=[_RARE[ending]]):
                return True
            return False
        first = first_bytes(path)
    except OSError:
        return True
    # Many formats of cameras and microscopes begin as TIFF does, and are more than that.
    return bool(_BY_FIRST_BYTES.match(first) or (not ending and _TIFF.match(first)))


def _identity(folder: str, field: str) -> tuple[int, int]:
    try:
        stat = os.stat(folder)
    except OSError as problem:
        raise _unlisted(folder, field, problem) from problem
    return stat.st_dev, stat.st_ino


def _unlisted(folder: str, field: str, problem: OSError) -> ConfigError:
    why = problem.strerror or type(problem).__name__
    return ConfigError(field, f"{folder} cannot be listed ({why}).", "Let it be read, or move it away.")


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _holds(folder: str, other: str) -> bool:
    """Whether a folder is another one or above it."""
    return f"{other}/".startswith(f"{folder.rstrip('/')}/")
