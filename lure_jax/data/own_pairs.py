"""Your own pairs before training: what is wrong with two folders of images, and registering them."""

import json
import pathlib
import shutil
import uuid
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from lure_jax.data import registration
from lure_jax.data.registration import Registration
from lure_jax.data.tonemap import percentile
from tfds_builders.files import DataError, hashed_split

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".pgm")
SATURATED = 0.25  # a frame is, if more of its pixels than that lie at one end of its type's range
DUPLICATE_BITS = 3  # of 64 that two frames' fingerprints may differ in
EDGES = (0, 1, 2, 4, 8, 16, np.inf)  # of the histogram of misalignment, in visible pixels


class Pair(NamedTuple):
    """Two files of one stem."""

    stem: str
    visible: pathlib.Path
    infrared: pathlib.Path


class Report(NamedTuple):
    """What `check` found; every list holds one sentence or file a finding.

    Attributes:
      pairs: number of pairs.
      unpaired: files without a partner.
      kinds: "640x480 uint8" -> number of files, for each modality.
      bad: frames that cannot be read, are constant or saturated.
      duplicates: nearly equal visible frames, as pairs of stems; `leaks` are those that fall into two splits.
      leaks: as said.
      registrations: stem -> what was estimated, of the pairs sampled.
    """

    pairs: int
    unpaired: list[str]
    kinds: dict[str, dict[str, int]]
    bad: list[str]
    duplicates: list[tuple[str, str]]
    leaks: list[tuple[str, str]]
    registrations: dict[str, Registration]

    def misalignment(self) -> dict[str, float]:
        """Stem -> length of the estimated shift in visible pixels, of the registrations to be trusted."""
        return {stem: float(np.hypot(r.pose.x, r.pose.y)) for stem, r in self.registrations.items() if r.trusted}


def match(visible: pathlib.Path, infrared: pathlib.Path) -> tuple[list[Pair], list[str]]:
    """Pairs by stem, and the files without a partner.

    Raises:
      DataError: a folder is missing, or there is no pair at all.
    """
    files = []
    for folder in (visible, infrared):
        if not folder.is_dir():
            raise DataError(f"Folder {folder} does not exist.")
        files.append({p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES})
    both = sorted(files[0].keys() & files[1].keys())
    if not both:
        raise DataError(f"{visible} and {infrared} have no two images of one stem.")
    unpaired = [str(path) for one in files for stem, path in one.items() if stem not in both]
    return [Pair(stem, files[0][stem], files[1][stem]) for stem in both], unpaired


def read_frame(path: pathlib.Path) -> np.ndarray:
    """An image as stored, upright: (H,W) or (H,W,3), uint8, uint16, int32 or float32; DataError names a bad file."""
    try:
        with Image.open(path) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not a readable image: {error}.") from error
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F", "L"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def grey(frame: np.ndarray) -> Float[np.ndarray, "H W"]:
    """Luma in [0,1]; more than 8 bits are tone mapped between percentiles."""
    if frame.ndim == 3:
        frame = frame @ np.array([0.299, 0.587, 0.114], np.float32)
        return (frame / 255).astype(np.float32)
    return percentile(frame)(frame) if frame.dtype != np.uint8 else frame.astype(np.float32) / 255


def check(
    visible: pathlib.Path, infrared: pathlib.Path, *, sample: int = 40, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """Reads every image once and registers `sample` pairs, spread evenly over the folder.

    Args:
      visible: folder.
      infrared: folder; files are matched by stem.
      sample: pairs to register (1 to 3 s each); 0 for none.
      tell: called with a line of progress.

    Raises:
      DataError: no folder, or no pair.
    """
    pairs, unpaired = match(visible, infrared)
    kinds = {"visible": {}, "infrared": {}}
    bad, prints = [], {}
    for pair in pairs:
        for modality in kinds:
            path = getattr(pair, modality)
            try:
                frame = read_frame(path)
            except DataError as error:
                bad.append(str(error))
                continue
            kind = f"{frame.shape[1]}x{frame.shape[0]} {frame.dtype}"
            kinds[modality][kind] = kinds[modality].get(kind, 0) + 1
            bad += _faults(path, frame)
            if modality == "visible":
                prints[pair.stem] = fingerprint(frame)
    duplicates = near_duplicates(prints)
    leaks = [(a, b) for a, b in duplicates if hashed_split(a) != hashed_split(b)]
    sampled = pairs[:: max(1, -(-len(pairs) // sample))] if sample else []
    found = {}
    for number, pair in enumerate(sampled, 1):
        tell(f"registering {number} of {len(sampled)}: {pair.stem}")
        try:
            found[pair.stem] = registration.register(grey(read_frame(pair.visible)), grey(read_frame(pair.infrared)))
        except DataError:  # told above
            continue
    return Report(len(pairs), unpaired, kinds, bad, duplicates, leaks, found)


def _faults(path: pathlib.Path, frame: np.ndarray) -> list[str]:
    if frame.max() == frame.min():
        return [f"{path} is constant."]
    if frame.dtype.kind != "u":
        return []
    share = max((frame == end).mean() for end in (0, np.iinfo(frame.dtype).max))
    return [f"{path} is saturated: {share:.0%} of its pixels are at one end of the range."] if share > SATURATED else []


def fingerprint(frame: np.ndarray) -> int:
    """64 bits: where an 8x9 thumbnail grows brighter to the right (dHash)."""
    small = np.asarray(Image.fromarray(np.round(255 * grey(frame)).astype(np.uint8)).resize((9, 8), Image.BOX), int)
    return int("".join("01"[bit] for bit in (small[:, 1:] > small[:, :-1]).ravel().astype(int)), 2)


def near_duplicates(prints: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of stems whose fingerprints differ in at most `DUPLICATE_BITS` bits."""
    stems, codes = list(prints), np.array(list(prints.values()), np.uint64)
    found = []
    for i, code in enumerate(codes):
        close = np.flatnonzero(np.bitwise_count(codes[i + 1 :] ^ code) <= DUPLICATE_BITS)
        found += [(stems[i], stems[i + 1 + j]) for j in close]
    return found


def align(
    visible: pathlib.Path,
    infrared: pathlib.Path,
    output: pathlib.Path,
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, dict]:
    """Registers every infrared image to its visible one and writes both, cropped to what both show.

    Writes OUTPUT/visible/STEM.png, OUTPUT/infrared/STEM.png (as many bits as before, at the visible resolution) and
    OUTPUT/transforms.json. A pair whose registration is not to be trusted is in the JSON alone, with the reason.

    Args:
      visible: folder.
      infrared: folder; sizes may differ from the visible ones.
      output: folder to make.
      overwrite: replace the folder.
      tell: called with a line of progress.

    Returns:
      What the JSON says: stem -> status "aligned" or "failed", score, distinctness; matrix (visible pixel to infrared
      pixel), pose and crop (top, left, height, width) of the visible image, or the reason.

    Raises:
      DataError: no folder, no pair, or the output exists.
    """
    pairs, _ = match(visible, infrared)
    if output.exists() and not overwrite:
        raise DataError(f"{output} already exists: give --overwrite to replace it.")
    workshop = output.parent / f".aligning-{uuid.uuid4().hex[:8]}"
    told = {}
    try:
        for folder in ("visible", "infrared"):
            (workshop / folder).mkdir(parents=True)
        for number, pair in enumerate(pairs, 1):
            told[pair.stem] = _align_one(pair, workshop)
            tell(f"{number} of {len(pairs)}: {pair.stem} {told[pair.stem]['status']}")
        (workshop / "transforms.json").write_text(json.dumps(told, indent=1))
        if output.exists():
            output.rename(workshop.with_name(workshop.name + "-replaced"))
        workshop.rename(output)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
        shutil.rmtree(workshop.with_name(workshop.name + "-replaced"), ignore_errors=True)
    return told


class SharedArea(NamedTuple):
    """A registration to be trusted, and (top, left, height, width) of the visible image that both images show."""

    registration: Registration
    crop: tuple[int, int, int, int]


class Misaligned(DataError):
    """Two images that could not be registered, and the registration that was not good enough."""

    def __init__(self, reason: str, registration: Registration):
        super().__init__(reason)
        self.registration = registration


def shared_area(visible: Float[np.ndarray, "H W"], infrared: Float[np.ndarray, "h w"]) -> SharedArea:
    """Registers two grey images in [0,1] and finds what both show.

    Raises:
      Misaligned: the registration is not to be trusted, or the images have no area in common.
    """
    found = registration.register(visible, infrared)
    if not found.trusted:
        raise Misaligned("The gradients of the two images do not agree clearly.", found)
    mask = registration.content_mask(infrared)
    rectangle = inner_rectangle(registration.warp(mask, found.matrix, visible.shape) > 0.99)
    if rectangle is None:
        raise Misaligned("The two images have no area in common.", found)
    return SharedArea(found, rectangle)


def _align_one(pair: Pair, folder: pathlib.Path) -> dict:
    try:
        frames = read_frame(pair.visible), read_frame(pair.infrared)
        found, rectangle = shared_area(*map(grey, frames))
    except Misaligned as error:
        return {"status": "failed", "reason": str(error)} | _facts(error.registration)
    except DataError as error:
        return {"status": "failed", "reason": str(error)}
    top, left, height, width = rectangle
    warped = registration.warp(_warpable(frames[1]), found.matrix, frames[0].shape[:2])
    for role, image in (("visible", frames[0]), ("infrared", warped)):
        Image.fromarray(np.ascontiguousarray(image[top : top + height, left : left + width])).save(
            folder / role / f"{pair.stem}.png"
        )
    return {
        "status": "aligned",
        "matrix": found.matrix.tolist(),
        "pose": found.pose._asdict(),
        "crop": rectangle,
    } | _facts(found)


def _facts(found: Registration) -> dict[str, float]:
    return {"score": round(found.score, 4), "distinctness": round(found.distinctness, 3)}


def _warpable(frame: np.ndarray) -> np.ndarray:
    """Grey, 8 or 16 bits."""
    if frame.dtype in (np.uint8, np.uint16) and frame.ndim == 2:
        return frame
    deep = frame.dtype != np.uint8
    return np.round(grey(frame) * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)


def worst_sheet(report: Report, visible: pathlib.Path, infrared: pathlib.Path, count: int = 4) -> Image.Image | None:
    """The pairs farthest from plain overlay: visible, infrared, and both in one (red and cyan); None without any."""
    away = report.misalignment()
    files = {pair.stem: pair for pair in match(visible, infrared)[0]}
    rows = []
    for stem in sorted(away, key=away.get, reverse=True)[:count]:
        left = grey(read_frame(files[stem].visible))
        size = (320, round(320 * left.shape[0] / left.shape[1]))
        tiles = [Image.fromarray(np.round(255 * grey(read_frame(path))).astype(np.uint8)).resize(size)
                 for path in files[stem][1:]]  # fmt: skip
        tiles.append(Image.merge("RGB", (tiles[0], tiles[1], tiles[1])))
        rows.append(np.concatenate([np.asarray(tile.convert("RGB")) for tile in tiles], 1))
    if not rows:
        return None
    height = max(row.shape[0] for row in rows)
    return Image.fromarray(np.concatenate([np.pad(r, ((0, height - r.shape[0]), (0, 0), (0, 0))) for r in rows]))


def inner_rectangle(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) without a False in it, by giving up the worst side again and again; or None."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    while bottom > top and right > left:
        part = mask[top:bottom, left:right]
        holes = [1 - side.mean() for side in (part[0], part[-1], part[:, 0], part[:, -1])]
        worst = int(np.argmax(holes))
        if holes[worst] == 0:
            return (top, left, bottom - top, right - left) if part.all() else None
        top, bottom, left, right = top + (worst == 0), bottom - (worst == 1), left + (worst == 2), right - (worst == 3)
    return None
