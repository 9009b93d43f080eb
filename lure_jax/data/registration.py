"""Registering a visible and an infrared image: gradient correlation over shift, scale and rotation, then ECC."""

import itertools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Complex, Float

# The search: how much larger or smaller, and how many degrees turned, the infrared image may be; largest shift as a
# share of the side; the long side in pixels of the levels from coarse to fine.
SCALES = np.exp(np.arange(-7, 8) * 0.04)
DEGREES = np.arange(-4.5, 4.6, 1.5)
MAX_SHIFT = 0.2
LEVELS = (160, 320, 640)
MIN_OVERLAP = 0.5
CANDIDATES = 5  # of the coarsest level, which are told apart on the next one, where more detail is left
APART = 0.03  # of the long side, mean displacement: what is nearer is the same place
# Chosen on RoadScene's val split (benchmarks/alignment.py --split val): no wrong pose, nor an image of another scene,
# reached both.
MIN_SCORE, MIN_DISTINCTNESS = 0.14, 1.2


class Pose(NamedTuple):
    """Where the infrared image lies: `scale` times enlarged, `degrees` turned, shifted by (x, y) visible pixels."""

    scale: float = 1.0
    degrees: float = 0.0
    x: float = 0.0
    y: float = 0.0


class Registration(NamedTuple):
    """What was found.

    Attributes:
      matrix: (3,3), homogeneous (x, y) of a visible pixel to those of the infrared one, pixel centres at integers.
      pose: the same as a similarity.
      score: normalised correlation of the gradients there, 0 to 1.
      distinctness: the score over the best score elsewhere.
    """

    matrix: Float[np.ndarray, "3 3"]
    pose: Pose
    score: float
    distinctness: float

    @property
    def trusted(self) -> bool:
        """Whether the correlation stands out enough to believe it."""
        return self.score >= MIN_SCORE and self.distinctness >= MIN_DISTINCTNESS


class _Level(NamedTuple):
    """Both images at one resolution; `factor` is the number of visible pixels in one of its pixels."""

    factor: float
    spectra: tuple[np.ndarray, np.ndarray, np.ndarray]  # of the visible field, its energy, its mask
    infrared: Float[np.ndarray, "h w"]
    content: Float[np.ndarray, "h w"]
    shape: tuple[int, int]
    padded: tuple[int, int]


def register(
    visible: Float[np.ndarray, "H W"], infrared: Float[np.ndarray, "h w"], *, search: bool = True
) -> Registration:
    """Estimates the similarity between two images of one scene; their sizes may differ.

    Correlated are double-angle gradients (gx + i gy)^2 / |g|, which don't care whether an edge goes from dark to bright
    or back, normalised by their neighbourhood's strength (after Foroosh et al., phase correlation, TIP 2002, and
    Argyriou and Vlachos, gradient correlation, BMVC 2003; reconstruction). The best peak is refined from coarse to fine
    and by ECC (Evangelidis and Psarakis, TPAMI 2008).

    Args:
      visible: grey, in [0,1].
      infrared: grey, in [0,1].
      search: over scale and rotation too; else over shifts alone, and without ECC.

    Returns:
      The registration; look at `trusted`.
    """
    ratio = nominal_ratio(visible.shape, infrared.shape)
    sides = LEVELS[:1] + tuple(side for side in LEVELS[1:] if side <= 1.5 * max(visible.shape))
    levels = [_level(visible, infrared, ratio, side) for side in sides]
    if not search:
        score, elsewhere, pose = _best_shift(levels[-1], Pose())
        matrix = pose_matrix(pose, visible.shape, infrared.shape)
        return Registration(matrix, pose, score, score / max(elsewhere, 1e-3))
    fine = levels[1:2] or levels
    tried = [_climb(levels[0], pose, 0.02, 0.75) for pose in _candidates(levels[0])]
    tried = sorted((_climb(fine[0], pose, 0.01, 0.375, rounds=1) for _, _, pose in tried), reverse=True)
    score, elsewhere, pose = tried[0]
    others = [peak for peak, _, other in tried[1:] if _apart(fine[0], pose, other)]
    distinctness = score / max(elsewhere, *others, 1e-3)
    step = (0.005, 0.19)
    for level in fine + levels[2:]:
        for _ in range(2):
            score, _, pose = _climb(level, pose, *step)
            step = tuple(value / 2 for value in step)
    return _polished(visible, infrared, Registration(
        pose_matrix(pose, visible.shape, infrared.shape), pose, score, distinctness))  # fmt: skip


def _candidates(level: _Level) -> list[Pose]:
    """The best poses of a grid of scales and rotations that lie apart, and the best shift without either."""
    found = [_best_shift(level, Pose(s, d)) for s, d in itertools.product(SCALES, DEGREES)]
    chosen = [_best_shift(level, Pose())[2]]
    for _, _, pose in sorted(found, reverse=True):
        if len(chosen) <= CANDIDATES and all(_apart(level, pose, other) for other in chosen):
            chosen.append(pose)
    return chosen


def _apart(level: _Level, one: Pose, other: Pose) -> bool:
    """Whether two poses are different places, and not two steps to the same one."""
    shape = tuple(level.factor * length for length in level.shape)
    matrices = [pose_matrix(pose, shape, shape) for pose in (one, other)]
    return displacement(matrices[0], shape, matrices[1]) > APART * max(shape)


def nominal_ratio(visible: tuple[int, ...], infrared: tuple[int, ...]) -> float:
    """Infrared pixels per visible pixel if both show the same scene: a pose's scale is relative to it."""
    return float(np.sqrt(infrared[0] * infrared[1] / (visible[0] * visible[1])))


def pose_matrix(pose: Pose, visible: tuple[int, ...], infrared: tuple[int, ...]) -> Float[np.ndarray, "3 3"]:
    """A pose as the matrix from visible to infrared pixels, for images of these (height, width)."""
    k = nominal_ratio(visible, infrared) / pose.scale
    turn = k * np.array([[np.cos(a := np.deg2rad(pose.degrees)), -np.sin(a)], [np.sin(a), np.cos(a)]])
    centres = [np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2]) for shape in (visible, infrared)]
    offset = centres[1] + turn @ (np.array([pose.x, pose.y]) - centres[0])
    return np.block([[turn, offset[:, None]], [np.zeros((1, 2)), np.ones((1, 1))]])


def warp(image: np.ndarray, matrix: Float[np.ndarray, "3 3"], shape: tuple[int, int]) -> np.ndarray:
    """The infrared image on the pixels of a visible one of this (height, width); zero where it has none."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, matrix, shape[::-1], flags=flags)


def content_mask(image: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """1, and 0 in the black margins that an earlier warp has left: exact zeros connected to the border."""
    _, labels = cv2.connectedComponents((image == 0).astype(np.uint8))
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return 1 - np.isin(labels, np.setdiff1d(rim, 0)).astype(np.float32)


def gradient_field(image: Float[np.ndarray, "H W"], mask: Float[np.ndarray, "H W"]) -> Complex[np.ndarray, "H W"]:
    """Double-angle gradients over their neighbourhood's mean strength, at most 3, zero outside the mask."""
    smooth = cv2.GaussianBlur(np.ascontiguousarray(image, np.float32), (0, 0), 1.0)
    gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, *order, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1)))
    strength = np.hypot(gx, gy)
    size = max(image.shape) // 6 | 1
    local = cv2.blur(strength, (size, size)) + 0.25 * strength.mean() + 1e-6
    inner = cv2.erode(mask, np.ones((9, 9)))
    return inner * np.minimum(strength / local, 3) * ((gx + 1j * gy) / (strength + 1e-6)) ** 2


def _level(visible, infrared, ratio: float, side: int) -> _Level:
    factor = max(1.0, max(visible.shape) / side)
    shape = tuple(round(length / factor) for length in visible.shape)
    padded = tuple(cv2.getOptimalDFTSize(int((1 + MAX_SHIFT) * length) + 1) for length in shape)
    small, mask = _resized(visible, shape[::-1])
    field = gradient_field(small, mask)
    spectra = _spectra(field, mask, padded)
    k = factor * ratio
    size = tuple(max(8, round(length / k)) for length in infrared.shape[::-1])
    return _Level(factor, spectra, *_resized(infrared, size), shape, padded)


def _resized(image, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The image and its content mask at another (width, height)."""
    method = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    small, mask = (cv2.resize(x.astype(np.float32), size, interpolation=method) for x in (image, content_mask(image)))
    return small, (mask > 0.99).astype(np.float32)


def _best_shift(level: _Level, pose: Pose) -> tuple[float, float, Pose]:
    """The best score of all shifts at this scale and rotation, the next best peak's, and the pose of the best."""
    matrix = pose_matrix(pose._replace(x=0.0, y=0.0), level.infrared.shape, level.infrared.shape)
    matrix = matrix @ _between_centres(level.shape, level.infrared.shape)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = level.shape[::-1]
    image = cv2.warpAffine(level.infrared, matrix[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(level.content, matrix[:2], size, flags=flags)
    mask = (mask > 0.99).astype(np.float32)
    field = gradient_field(image, mask)
    theirs, ours = _spectra(field, mask, level.padded), level.spectra
    # Of x with x + shift: the correlation, both energies where the other image is, and the pixels in common.
    correlation, energy, other, common = (
        _correlation(ours[i], theirs[j]) for i, j in ((0, 0), (1, 2), (2, 1), (2, 2))
    )
    scores = correlation / np.sqrt(np.maximum(energy, 1e-3) * np.maximum(other, 1e-3))
    limits = [int(MAX_SHIFT * length) for length in level.shape]
    scores = np.where(common >= MIN_OVERLAP * level.shape[0] * level.shape[1], scores, 0)
    scores = np.roll(scores, limits, (0, 1))[: 2 * limits[0] + 1, : 2 * limits[1] + 1]
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    peak = float(scores[row, column])
    radius = max(4, max(level.shape) // 12)
    rest = scores.copy()
    rest[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = 0
    shift = [
        place + _vertex(line, place) - limit
        for line, place, limit in ((scores[row], column, limits[1]), (scores[:, column], row, limits[0]))
    ]
    pose = pose._replace(x=shift[0] * level.factor, y=shift[1] * level.factor)
    return peak, float(rest.max()), pose


def _spectra(field, mask, padded: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a gradient field, its energy and its mask; of the real ones in OpenCV's packed form."""
    planes = (np.dstack([field.real, field.imag]), np.abs(field) ** 2, mask)
    border = (0, padded[0] - mask.shape[0], 0, padded[1] - mask.shape[1], cv2.BORDER_CONSTANT)
    return tuple(cv2.dft(cv2.copyMakeBorder(plane.astype(np.float32), *border)) for plane in planes)


def _correlation(one: np.ndarray, other: np.ndarray) -> Float[np.ndarray, "h w"]:
    """The real part of the cross-correlation of two spectra, over all shifts of the other."""
    product = cv2.mulSpectrums(other, one, 0, conjB=True)
    if one.ndim == 3:
        return cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)[..., 0]
    return cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)


def _between_centres(one: tuple[int, int], other: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """The shift that brings the centre of an image of one size onto that of another."""
    return np.array([[1, 0, (other[1] - one[1]) / 2], [0, 1, (other[0] - one[0]) / 2], [0, 0, 1]])


def _vertex(line: np.ndarray, place: int) -> float:
    """Where, from `place` on, the parabola through a maximum and its neighbours has its top."""
    if not 0 < place < len(line) - 1:
        return 0.0
    before, here, after = line[place - 1 : place + 2]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _climb(
    level: _Level, pose: Pose, scale_step: float, degree_step: float, rounds: int = 3
) -> tuple[float, float, Pose]:
    """`_best_shift` at the best of the neighbours in scale and rotation, walked to while it gets better."""
    best = _best_shift(level, pose)
    for _ in range(rounds):
        steps = [step for step in itertools.product((-1, 0, 1), (-1, 0, 1)) if any(step)]
        pose = best[2]
        around = [
            pose._replace(scale=pose.scale * (1 + i * scale_step), degrees=pose.degrees + j * degree_step)
            for i, j in steps
        ]
        candidate = max(_best_shift(level, neighbour) for neighbour in around)
        if candidate[0] <= best[0]:
            break
        best = candidate
    return best


def _polished(visible, infrared, found: Registration) -> Registration:
    """ECC of the gradient strengths from there; kept where it converges near by and the correlation grows."""
    fields = [np.abs(gradient_field(image, content_mask(image))).astype(np.float32) for image in (visible, infrared)]
    fields = [cv2.GaussianBlur(field, (0, 0), 2.0) for field in fields]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-5)
    start = found.matrix[:2].astype(np.float32)
    try:
        _, affine = cv2.findTransformECC(*fields, start, cv2.MOTION_AFFINE, criteria, None, 5)
    except cv2.error:  # it did not converge
        return found
    a, b = (affine[0, 0] + affine[1, 1]) / 2, (affine[1, 0] - affine[0, 1]) / 2  # the nearest similarity
    turn = np.array([[a, -b], [b, a]], np.float64)
    centre = np.array([(visible.shape[1] - 1) / 2, (visible.shape[0] - 1) / 2])
    offset = affine[:, :2] @ centre + affine[:, 2] - turn @ centre
    matrix = np.block([[turn, offset[:, None]], [np.zeros((1, 2)), np.ones((1, 1))]])
    if displacement(matrix, visible.shape, found.matrix) > 3:
        return found
    if gradient_score(visible, infrared, matrix) <= gradient_score(visible, infrared, found.matrix):
        return found
    return found._replace(matrix=matrix, pose=matrix_pose(matrix, visible.shape, infrared.shape))


def gradient_score(visible: Float[np.ndarray, "H W"], infrared: Float[np.ndarray, "h w"], matrix) -> float:
    """Normalised correlation of the double-angle gradients once the infrared image is warped by `matrix`."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = visible.shape[::-1]
    warped = cv2.warpPerspective(
        infrared.astype(np.float32), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    mask = (cv2.warpPerspective(content_mask(infrared), matrix, size, flags=flags) > 0.99).astype(np.float32)
    mask *= content_mask(visible)
    one, other = gradient_field(visible, mask), gradient_field(warped, mask)
    energy = (np.abs(one) ** 2).sum() * (np.abs(other) ** 2).sum()
    return float((np.conj(one) * other).sum().real / np.sqrt(energy + 1e-6))


def matrix_pose(matrix: Float[np.ndarray, "3 3"], visible: tuple[int, ...], infrared: tuple[int, ...]) -> Pose:
    """The inverse of `pose_matrix`."""
    k, angle = np.hypot(*matrix[:2, 0]), np.arctan2(matrix[1, 0], matrix[0, 0])
    centres = [np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2]) for shape in (visible, infrared)]
    shift = np.linalg.solve(matrix[:2, :2], centres[1] * -1 + matrix[:2, 2]) + centres[0]
    return Pose(float(nominal_ratio(visible, infrared) / k), float(np.rad2deg(angle)), *map(float, shift))


def displacement(
    matrix: Float[np.ndarray, "3 3"], shape: tuple[int, ...], other: Float[np.ndarray, "3 3"] | None = None
) -> float:
    """How far apart two matrices put the pixels of a visible (height, width): mean of a grid, in infrared pixels.

    Without another one: from the identity, plain overlay of images of one size.
    """
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 9), np.linspace(0, shape[0] - 1, 9))
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    places = [m @ points for m in (matrix, np.eye(3) if other is None else other)]
    return float(np.hypot(*(places[0][:2] / places[0][2] - places[1][:2] / places[1][2])).mean())
