"""Classical restoration of each condition with OpenCV: what a user without a network would do before fusing.

All take and give (H,W,3) visible or (H,W) infrared images in uint8. Strengths are estimated from the image where the
method has one to choose, so that a weak and a strong degradation are both treated fairly.
"""

from collections.abc import Callable

import cv2
import numpy as np

from lure_jax.data.kernels import guided_filter
from lure_jax.evaluation.restoration import Image, gamma_to_mean, to_uint8
from lure_jax.inference.arrays import stretch

DARK_PATCH, HAZE_KEPT, LEAST_TRANSMISSION = 15, 0.05, 0.1  # pixels; of it, for depth's sake; -
GUIDE_RADIUS, GUIDE_REGULARISATION = 40, 1e-3
UNSHARP_SD, UNSHARP_AMOUNT = 2.0, 1.0
STRIPE_WINDOW = 11  # columns; of 5 to 31, between what suits weak and strong stripes on six thermal images
H_COLOUR, H_GREY = 0.6, 1.0  # non-local means' h a unit of noise; of 0.6 to 1.2, by four images and sd 4 to 50


def noise_sd(image: Image) -> float:
    """The standard deviation of white noise, of 255; channels averaged.

    Source: Immerkaer, "Fast noise variance estimation", CVIU 1996.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(image.astype(np.float32), -1, kernel)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(response).mean())


def non_local_means(image: Image) -> Image:
    """OpenCV's non-local means, 7 x 7 patches in 21 x 21 pixels, h in proportion to the estimated noise."""
    if image.ndim == 2:
        return cv2.fastNlMeansDenoising(image, None, H_GREY * noise_sd(image), 7, 21)
    h = H_COLOUR * noise_sd(image)
    return cv2.fastNlMeansDenoisingColored(image[..., ::-1].copy(), None, h, h, 7, 21)[..., ::-1].copy()


def dark_channel(image: Image) -> Image:
    """Dehazing by the dark channel, its transmission refined by a guided filter.

    Source: He, Sun, Tang, "Single image haze removal using dark channel prior", TPAMI 2011, with its patch and its 5 %
    of haze kept; "Guided image filtering", TPAMI 2013.
    """
    x = image.astype(np.float32) / 255
    patch = np.ones((DARK_PATCH, DARK_PATCH), np.uint8)
    dark = cv2.erode(x.min(-1), patch)
    haziest = dark >= np.quantile(dark, 0.999)
    airlight = np.maximum(x[haziest].mean(0), 1 / 255)
    transmission = 1 - (1 - HAZE_KEPT) * cv2.erode((x / airlight).min(-1), patch)
    transmission = guided_filter(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), transmission, GUIDE_RADIUS, GUIDE_REGULARISATION)
    refined = np.maximum(transmission, LEAST_TRANSMISSION)
    return to_uint8((x - airlight) / refined[..., None] + airlight)


def median(image: Image) -> Image:
    """Median of 5 x 5: streaks and flakes are thin and bright."""
    return cv2.medianBlur(image, 5)


def unsharp(image: Image) -> Image:
    """The image plus what a Gaussian of 2 pixels takes from it."""
    x = image.astype(np.float32) / 255
    return to_uint8(x + UNSHARP_AMOUNT * (x - cv2.GaussianBlur(x, (0, 0), UNSHARP_SD)))


def without_stripes(image: Image) -> Image:
    """Takes from each column its offset, the median over rows of what differs from the mean of 11 columns around.

    From each row, where rows have the larger offsets. A median, because an edge of the scene runs through some rows
    only and a stripe through all of them.
    """
    x = image.astype(np.float32)
    sizes = {0: (STRIPE_WINDOW, 1), 1: (1, STRIPE_WINDOW)}
    offsets = [np.median(x - cv2.blur(x, size), axis, keepdims=True) for axis, size in sizes.items()]
    return to_uint8((x - max(offsets, key=np.std)) / 255)


def contrast_stretch(image: Image) -> Image:
    """From the 0.1 and 99.9 percentiles to 0 and 255."""
    return to_uint8(stretch(image))


# Over-exposure clips what was there: nothing classical is right for it.
RESTORATIONS: dict[tuple[str, str], tuple[str, Callable[[Image], Image]]] = {
    ("visible", "low_light"): ("gamma", gamma_to_mean),
    ("visible", "haze"): ("dark channel", dark_channel),
    ("visible", "rain"): ("median", median),
    ("visible", "snow"): ("median", median),
    ("visible", "noise"): ("non-local means", non_local_means),
    ("visible", "blur"): ("unsharp", unsharp),
    ("infrared", "low_contrast"): ("contrast stretch", contrast_stretch),
    ("infrared", "noise"): ("non-local means", non_local_means),
    ("infrared", "stripe"): ("column offsets", without_stripes),
    ("infrared", "blur"): ("unsharp", unsharp),
}
