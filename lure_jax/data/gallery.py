"""Pictures of every degradation from weak to strong, on rendered scenes: behind `lure data gallery`."""

import pathlib

import numpy as np
from PIL import Image

from lure_jax.data.degradations import DEGRADATIONS, STRENGTHS, degrade
from lure_jax.data.strengths import Distribution, Integer, LogUniform, Strengths
from lure_jax.text.conditions import condition_id
from tfds_builders.synthetic_scenes import Scene, render_scene

# What is shown of each: the parameters that grow from tile to tile; those with a minus are strongest when small.
SHOWN = {
    ("visible", "haze"): ("beta",),
    ("visible", "rain"): ("density", "opacity"),
    ("visible", "snow"): ("large_density", "small_density", "large"),
    ("visible", "blur"): ("radius", "length"),
    ("visible", "low_light"): ("-gain",),
    ("visible", "over_exposure"): ("gain",),
    ("visible", "noise"): ("sd",),
    ("infrared", "blur"): ("radius", "length"),
    ("infrared", "low_contrast"): ("-contrast",),
    ("infrared", "noise"): ("sd", "dead"),
    ("infrared", "stripe"): ("sd",),
}
CHAINS = (("haze", "noise"), ("rain", "blur"), ("low_light", "blur"), ("over_exposure", "noise"))
PLACES = (0.0, 0.5, 1.0)  # in the range of the strength


def write(folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes degradation_MODALITY_NAME.jpg (clean, weak, middle, strong) and degradation_chains.jpg; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = render_scene(0, 0, 240, 320)
    strips = {f"{modality}_{name}": strip(scene, modality, name) for modality, name in DEGRADATIONS}
    strips["chains"] = np.concatenate([chain(scene, names) for names in CHAINS], 1)
    paths = []
    for name, image in strips.items():
        paths.append(folder / f"degradation_{name}.jpg")
        draft = paths[-1].with_name(f".{paths[-1].name}")
        Image.fromarray(np.round(255 * image).astype(np.uint8).squeeze()).save(draft, "JPEG", quality=88)
        draft.replace(paths[-1])
    return paths


def strip(scene: Scene, modality: str, name: str) -> np.ndarray:
    """The clean image and three of growing strength side by side, float32 in [0,1]."""
    image = _unit(getattr(scene, modality))
    tiles = [image]
    for place in PLACES:
        strengths = {(modality, name): fixed(STRENGTHS, (modality, name), place)}
        tiles.append(degrade(image, [condition_id(modality, name)], np.random.default_rng(1), strengths))
    return np.concatenate(tiles, 1)


def chain(scene: Scene, names: tuple[str, ...]) -> np.ndarray:
    """Several conditions of the visible image at once, in the middle of their ranges."""
    strengths = {("visible", name): fixed(STRENGTHS, ("visible", name), 0.5) for name in names}
    ids = [condition_id("visible", name) for name in names]
    return degrade(_unit(scene.visible), ids, np.random.default_rng(1), strengths)


def fixed(table: Strengths, key: tuple[str, str], place: float) -> dict[str, Distribution]:
    """The shown strengths at that place in their ranges, 0 weak to 1 strong; the others keep their distributions."""
    parameters = dict(table[key])
    for shown in SHOWN[key]:
        name = shown.removeprefix("-")
        old = parameters[name]
        value = _at(old, 1 - place if shown != name else place)
        parameters[name] = type(old)(value, value)
    return parameters


def _at(distribution: Distribution, place: float) -> float:
    low, high = distribution
    if isinstance(distribution, LogUniform):
        return float(low ** (1 - place) * high**place)
    value = low + place * (high - low)
    return round(value) if isinstance(distribution, Integer) else value


def _unit(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32) / 255
    return image if image.ndim == 3 else image[..., None]
