"""Synthetic degradations of clean crops, physically motivated (method A3), as numpy functions of a random generator.

Every function takes an image (H,W,C) float32 in [0,1] with C = 3 (visible, sRGB) or 1 (infrared), a generator for what
is random within the image, and its strengths by name; it returns the degraded image, same shape, float32 in [0,1].
x is the image, y the result, n standard normal noise of every pixel and channel. `STRENGTHS` at the end says from what
the strengths are drawn.
"""

from collections.abc import Callable, Iterable

import numpy as np

from lure_jax.data import depth
from lure_jax.data.kernels import Image, disc_kernel, gaussian_poisson, line_kernel, shift_sum
from lure_jax.data.strengths import Integer, LogUniform, Strengths, Uniform
from lure_jax.text.conditions import CONDITIONS

GAMMA = 2.2  # stored value ** GAMMA = linear light, close to sRGB's curve


def clip(image: Image) -> Image:
    """float32 in [0,1]."""
    return np.clip(image, 0, 1).astype(np.float32)


def haze(
    image: Image,
    rng: np.random.Generator,
    *,
    beta: float,
    airlight: float,
    tint: float,
    slope: float,
    gamma: float,
    ground_share: float,
    horizon: float,
    scene_share: float,
) -> Image:
    """y = x t + A (1 - t), t = exp(-beta d) (Koschmieder's law); depth d, 0.4 to 1, is smooth and grows upwards.

    With probability `scene_share` it is that of things on level ground, else with `ground_share` of the ground alone
    (`lure_jax.data.depth`); `horizon` is a share of the height from the top. A is `airlight` times 1 - tint..1 for
    each channel; x and y are taken to the power `gamma` for the mixture, which 1 leaves to the stored values (as the
    hazy data sets of the field do) and 2.2 to linear light.
    """
    size = image.shape[:2]
    if rng.random() < scene_share:
        distance = depth.scene(image, rng, horizon)
    elif rng.random() < ground_share:
        distance = depth.level_ground(rng, *size, horizon)
    else:
        distance = depth.smooth(rng, *size, slope)
    transmission = np.exp(-beta * distance)
    light = airlight * rng.uniform(1 - tint, 1.0, image.shape[-1]).astype(np.float32)
    if gamma == 1:
        return clip(image * transmission + light * (1 - transmission))
    return clip((image**gamma * transmission + light**gamma * (1 - transmission)) ** (1 / gamma))


def rain(
    image: Image,
    rng: np.random.Generator,
    *,
    density: float,
    length: int,
    angle: float,
    opacity: float,
    light: float,
    veil: float,
    mist: float,
) -> Image:
    """y = ((1 - veil) x + mist veil) (1 - s) + light s, s = min(0.8, opacity length (line * seeds)).

    The seeds are a share `density` of the pixels, each 0.5..1 strong; the line is `length` pixels long and `angle`
    radians off the vertical. The veil is the rain too far away to be seen as streaks.
    """
    size = (*image.shape[:2], 1)
    seeds = ((rng.random(size) < density) * rng.uniform(0.5, 1, size)).astype(np.float32)
    streaks = np.clip(shift_sum(seeds, line_kernel(length, np.pi / 2 + angle)) * length * opacity, 0, 0.8)
    return clip((image * (1 - veil) + mist * veil) * (1 - streaks) + light * streaks)


def snow(
    image: Image,
    rng: np.random.Generator,
    *,
    small: float,
    small_density: float,
    large: float,
    large_density: float,
    motion: int,
    angle: float,
    opacity: float,
    light: float,
    veil: float,
) -> Image:
    """y = ((1 - veil) x + 0.9 veil) (1 - s) + light s, s = opacity min(1, line * (small + large flakes)).

    Flakes are soft discs of two radii (pixels) at a share `*_density` of the pixels, drawn along `motion` pixels.
    """
    size = (*image.shape[:2], 1)
    flakes = np.zeros(size, np.float32)
    for radius, density in ((small, small_density), (large, large_density)):
        disc = disc_kernel(radius)
        flakes += shift_sum((rng.random(size) < density).astype(np.float32), disc / disc.max())
    flakes = opacity * np.clip(shift_sum(flakes, line_kernel(motion, angle)), 0, 1)
    return clip((image * (1 - veil) + 0.9 * veil) * (1 - flakes) + light * flakes)


def blur(
    image: Image,
    rng: np.random.Generator,
    *,
    motion_share: float,
    length: int,
    angle: float,
    radius: float,
    gamma: float,
) -> Image:
    """y = k * x: motion over `length` pixels with probability `motion_share`, else defocus, a disc of `radius` pixels.

    x and y are taken to the power `gamma` for it; 2.2 is linear light.
    """
    taps = line_kernel(length, angle) if rng.random() < motion_share else disc_kernel(radius)
    if gamma == 1:
        return clip(shift_sum(image, taps))
    return clip(shift_sum(image**gamma, taps) ** (1 / gamma))


def low_light(image: Image, rng: np.random.Generator, *, gain: float, cast: float, shot: float, read: float) -> Image:
    """y = l^(1/2.2), l = g x^2.2 + sqrt(shot g x^2.2 + read^2) n: few photons, counted in linear light.

    g is `gain` times 1 - cast..1 + cast for each channel.
    """
    gains = gain * rng.uniform(1 - cast, 1 + cast, image.shape[-1]).astype(np.float32)
    linear = gaussian_poisson(image**GAMMA * gains, rng, shot, read)
    return clip(np.maximum(linear, 0) ** (1 / GAMMA))


def over_exposure(image: Image, rng: np.random.Generator, *, gain: float) -> Image:
    """y = min(1, gain x^2.2)^(1/2.2): too long an exposure, clipped by the sensor."""
    del rng
    return clip(image * gain ** (1 / GAMMA))


def visible_noise(
    image: Image,
    rng: np.random.Generator,
    *,
    sd: float,
    shot_share: float,
    common: float,
    grain_share: float,
    grain: float,
    grain_sd: float,
) -> Image:
    """y = x + sqrt(s x / 0.4 + 1 - s) sd/255 m, m = sqrt(c) n' + sqrt(1 - c) n, s = `shot_share`: camera noise.

    In stored values; n' is the same in all channels, so that c = `common` is the correlation between them. With
    probability `grain_share` the noise is blurred by a disc of radius `grain`, as demosaicing and compression do, and
    scaled so that its standard deviation is `grain_sd` times that.
    """
    own, shared = (rng.standard_normal((*image.shape[:2], n), np.float32) for n in (image.shape[2], 1))
    spread = np.sqrt(shot_share * image / 0.4 + 1 - shot_share) * (sd / 255)
    noise = (spread * (common**0.5 * shared + (1 - common) ** 0.5 * own)).astype(np.float32)
    if rng.random() < grain_share:
        spread = disc_kernel(grain)
        noise = shift_sum(noise, spread) / np.sqrt((spread**2).sum()) * grain_sd
    return clip(image + noise)


def low_contrast(image: Image, rng: np.random.Generator, *, contrast: float, offset: float) -> Image:
    """y = contrast (x - m) + min(0.85, max(0.15, m + offset)), m the mean of x: a thermal range much too wide."""
    del rng
    mean = image.mean()
    return clip((image - mean) * contrast + np.clip(mean + offset, 0.15, 0.85))


def infrared_noise(image: Image, rng: np.random.Generator, *, sd: float, shot_share: float, dead: float) -> Image:
    """y = x + sqrt(s x / 0.4 + 1 - s) sd/255 n, s = `shot_share`; a share `dead` of the pixels is black or white."""
    sd = sd / 255
    noisy = gaussian_poisson(image, rng, shot_share * sd**2 / 0.4, sd * (1 - shot_share) ** 0.5)
    return clip(np.where(rng.random(image.shape) < dead, rng.integers(0, 2, image.shape), noisy))


def stripe(image: Image, rng: np.random.Generator, *, sd: float, row_share: float) -> Image:
    """y = x + sd/255 n, one n a column (a row with probability `row_share`): read-out amplifiers that differ."""
    axis = 0 if rng.random() < row_share else 1
    shape = [1, 1, 1]
    shape[axis] = image.shape[axis]
    return clip(image + sd / 255 * rng.standard_normal(shape, np.float32))


# In the order light takes: scene and atmosphere, optics, exposure, sensor (compound conditions are applied so).
DEGRADATIONS: dict[tuple[str, str], Callable[..., Image]] = {
    ("visible", "haze"): haze,
    ("visible", "rain"): rain,
    ("visible", "snow"): snow,
    ("visible", "blur"): blur,
    ("visible", "low_light"): low_light,
    ("visible", "over_exposure"): over_exposure,
    ("visible", "noise"): visible_noise,
    ("infrared", "blur"): blur,
    ("infrared", "low_contrast"): low_contrast,
    ("infrared", "noise"): infrared_noise,
    ("infrared", "stripe"): stripe,
}
_BLUR = dict(
    motion_share=Uniform(0.5, 0.5),
    length=Integer(5, 15),
    angle=Uniform(0, np.pi),
    radius=Uniform(1.2, 3.5),
    gamma=Uniform(1, 1),
)
# What the released models were trained on; `config.data.strengths` changes it.
STRENGTHS: Strengths = {
    ("visible", "haze"): dict(
        beta=Uniform(0.5, 2.2),
        airlight=Uniform(0.7, 1),
        tint=Uniform(0.05, 0.05),
        slope=Uniform(0, 1),
        gamma=Uniform(1, 1),
        ground_share=Uniform(0.5, 0.5),
        horizon=Uniform(0, 0.7),
        scene_share=Uniform(0, 0),
    ),
    ("visible", "rain"): dict(
        density=Uniform(0.003, 0.02),
        length=Integer(7, 21),
        angle=Uniform(-0.6, 0.6),
        opacity=Uniform(0.25, 0.7),
        light=Uniform(0.8, 1),
        veil=Uniform(0, 0.3),
        mist=Uniform(0.4, 0.9),
    ),
    ("visible", "snow"): dict(
        small=Uniform(0.6, 1.2),
        small_density=Uniform(0.0024, 0.016),
        large=Uniform(1.5, 3.5),
        large_density=Uniform(0.00045, 0.003),
        motion=Integer(1, 5),
        angle=Uniform(0, np.pi),
        opacity=Uniform(0.6, 0.95),
        light=Uniform(0.9, 1),
        veil=Uniform(0, 0.2),
    ),
    ("visible", "blur"): _BLUR,
    ("visible", "low_light"): dict(
        gain=LogUniform(0.003, 0.15),
        cast=Uniform(0.15, 0.15),
        shot=LogUniform(1e-6, 1e-4),
        read=LogUniform(1e-5, 5e-4),
    ),
    ("visible", "over_exposure"): dict(gain=Uniform(1.6, 4.5)),
    ("visible", "noise"): dict(
        sd=LogUniform(2, 55),
        shot_share=Uniform(0, 1),
        common=Uniform(0, 0.9),
        grain_share=Uniform(0.6, 0.6),
        grain=Uniform(0.7, 3),
        grain_sd=Uniform(0.5, 1),
    ),
    ("infrared", "blur"): _BLUR,
    ("infrared", "low_contrast"): dict(contrast=Uniform(0.15, 0.45), offset=Uniform(-0.2, 0.2)),
    ("infrared", "noise"): dict(sd=LogUniform(5, 35), shot_share=Uniform(0, 0.5), dead=Uniform(0, 0.002)),
    ("infrared", "stripe"): dict(sd=Uniform(3, 10), row_share=Uniform(0.25, 0.25)),
}
# Pairs that contradict each other, or of which one hides the other.
EXCLUSIVE = (frozenset({"low_light", "over_exposure"}), frozenset({"rain", "snow"}), frozenset({"haze", "snow"}))


def degrade(
    image: Image, condition_ids: Iterable[int], rng: np.random.Generator, strengths: Strengths = STRENGTHS
) -> Image:
    """Applies several conditions in physical order; "clean" does nothing.

    Args:
      image: (H,W,C) float32 in [0,1].
      condition_ids: indices into `CONDITIONS`, all of the image's modality.
      rng: all randomness comes from it.
      strengths: from what the strengths are drawn, one draw an image.

    Returns:
      The degraded image, float32 in [0,1].
    """
    wanted = {CONDITIONS[i] for i in condition_ids}
    for condition, function in DEGRADATIONS.items():
        if condition in wanted:
            drawn = {name: distribution.draw(rng) for name, distribution in strengths[condition].items()}
            image = function(image, rng, **drawn)
    return image


def compatible(first: int, second: int) -> bool:
    """Whether two different conditions can be met together."""
    return first != second and frozenset({CONDITIONS[first].name, CONDITIONS[second].name}) not in EXCLUSIVE
