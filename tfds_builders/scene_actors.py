"""What moves in a synthetic scene: people, bicycles and cars."""

import numpy as np

from tfds_builders.scene_canvas import Canvas, ellipse, limb
from tfds_builders.scene_street import World

CAR, PERSON, BIKE = 1, 2, 3
BOX_PERSON, BOX_BICYCLE, BOX_CAR = 0, 1, 2

_SIDE = np.array(  # a saloon's profile: metres from the front bumper, height
    [
        (0.02, 0.32),
        (0, 0.6),
        (0.12, 0.76),
        (1.1, 0.93),
        (1.8, 1.38),
        (2.2, 1.44),
        (3.1, 1.44),
        (3.5, 1.36),
        (4.05, 1.0),
        (4.3, 0.95),
        (4.32, 0.4),
        (4.2, 0.28),
        (0.2, 0.26),
    ]
)
_SIDE_GLASS = (
    np.array([(1.35, 0.95), (1.9, 1.33), (2.42, 1.37), (2.42, 0.95)]),
    np.array([(2.5, 0.95), (2.5, 1.37), (3.1, 1.37), (3.45, 1.28), (3.75, 0.98)]),
)


def person(
    canvas: Canvas, world: World, rng: np.random.Generator, x: float, z: float, facing: int, seat: float = 0.0
) -> None:
    """A walking person, or a rider when `seat` (metres the hips are raised) is not 0.

    Faces right (1) or left (-1). Skin is the warmest, clothes are in between; at night these are dark.
    """
    scale = rng.uniform(0.92, 1.05)
    to_pixel = canvas.camera.upright(x, z, scale * facing, scale, seat)
    dark = 0.45 if world.night else 1.0
    coat = (
        rng.uniform(0.02, 0.36, 3) * dark
        if rng.random() < 0.4
        else rng.uniform(0.02, 0.14) * np.ones(3) * dark
    )
    trousers = np.array((0.05, 0.055, 0.08)) * rng.uniform(0.4, 2.5) * dark
    skin = np.array((0.45, 0.27, 0.19)) * rng.uniform(0.35, 1.2)
    cloth = world.air + 0.55 * (31 - world.air) + rng.uniform(-2, 1.5)
    common = {"near": 1 / z, "label": PERSON, "instance": canvas.instance(BOX_PERSON)}
    stride = rng.uniform(0.06, 0.32)
    if seat:
        legs = [((0, 0.9), (0.32, 0.72), (0.16, 0.36)), ((0, 0.9), (0.36, 0.60), (0.22, 0.22))]
        hands = [((0.14, 1.32), (0.36, 1.12), (0.56, 1.06))] * 2
        lean = 0.16
    else:
        legs = [
            ((-0.05, 0.92), (0.1 + stride / 2, 0.5), (stride, 0.06)),
            ((0.05, 0.92), (-stride / 3, 0.5), (-stride, 0.08)),
        ]
        hands = [
            ((-0.19, 1.4), (-0.24 - stride / 3, 1.14), (-0.14 - stride / 4, 0.9)),
            ((0.19, 1.4), (0.25 + stride / 3, 1.14), (0.2 + stride, 0.93)),
        ]
        lean = 0.0
    far, close = [
        [limb(a, b, 0.095, 0.07), limb(b, c, 0.07, 0.05), limb(c, np.add(c, (0.14, -0.02)), 0.05, 0.04)]
        for a, b, c in legs
    ]
    canvas.fill(
        [to_pixel(p) for p in far],
        trousers * 0.8,
        cloth - 2.5,
        texture=0.15,
        heat_texture=0.8,
        sun=0.35,
        **common,
    )
    canvas.fill(
        [to_pixel(p) for p in close],
        trousers,
        cloth - 2.0,
        texture=0.15,
        heat_texture=0.8,
        sun=0.55,
        **common,
    )
    chest = [
        (-0.15, 0.86),
        (0.15, 0.86),
        (0.17 + lean, 1.1),
        (0.22 + lean, 1.36),
        (0.16 + lean, 1.46),
        (-0.14 + lean, 1.47),
        (-0.22 + lean, 1.38),
        (-0.17 + lean / 2, 1.1),
    ]
    canvas.fill([to_pixel(chest)], coat, cloth, texture=0.15, heat_texture=0.9, sun=0.55, **common)
    sunny = [(px * 0.45 + np.sign(world.sun[0]) * facing * 0.09, py) for px, py in chest]
    canvas.fill(
        [to_pixel(sunny)], coat * 1.15, cloth + 0.8, texture=0.15, heat_texture=0.9, sun=0.8, **common
    )
    for a, b, c in hands:
        canvas.fill(
            [to_pixel(limb(a, b, 0.065, 0.055)), to_pixel(limb(b, c, 0.055, 0.045))],
            coat * 0.85,
            cloth - 0.8,
            sun=0.5,
            **common,
        )
        canvas.fill([to_pixel(ellipse(c, 0.05, 0.06))], skin, 31.0, sun=0.5, **common)
    head = (lean * 1.6, 1.63)
    canvas.fill(
        [to_pixel(limb((lean, 1.44), head, 0.06, 0.06)), to_pixel(ellipse(head, 0.1, 0.135))],
        skin,
        33.5,
        sun=0.6,
        **common,
    )
    hair = np.array((0.05, 0.035, 0.025)) * rng.uniform(0.4, 3.0)
    canvas.fill([to_pixel(ellipse((head[0] - 0.025, 1.69), 0.1, 0.09))], hair, 30.0, sun=0.5, **common)


def bicycle(
    canvas: Canvas, world: World, rng: np.random.Generator, x: float, z: float, facing: int, ridden: bool
) -> None:
    """A bicycle seen from the side, with a rider or parked."""
    to_pixel = canvas.camera.upright(x, z, facing)
    common = {"near": 1 / z, "label": BIKE, "instance": canvas.instance(BOX_BICYCLE), "sun": 0.5}
    tyre = world.air + (3.0 if ridden else 0.5)
    for hub in (-0.52, 0.55):
        rim = [
            limb(
                (hub + 0.33 * np.cos(a), 0.35 + 0.33 * np.sin(a)),
                (hub + 0.33 * np.cos(b), 0.35 + 0.33 * np.sin(b)),
                0.03,
                0.03,
            )
            for a, b in zip(np.arange(14) * np.pi / 7, np.arange(1, 15) * np.pi / 7, strict=True)
        ]
        canvas.fill([to_pixel(r) for r in rim], (0.03, 0.03, 0.03), tyre, **common)
    joints = {
        "rear": (-0.52, 0.35),
        "front": (0.55, 0.35),
        "pedal": (-0.02, 0.33),
        "seat": (-0.2, 0.92),
        "bar": (0.42, 1.0),
    }
    bars = ("rear pedal", "rear seat", "pedal seat", "pedal bar", "seat bar", "front bar")
    frame = [limb(joints[a], joints[b], 0.028, 0.028) for a, b in map(str.split, bars)]
    colour = rng.uniform(0.03, 0.6, 3)
    canvas.fill([to_pixel(f) for f in frame], colour, world.air + (0.0 if world.night else 3.0), **common)
    details = [limb((-0.3, 0.96), (-0.1, 0.96), 0.05, 0.03), limb((0.42, 1.0), (0.5, 1.08), 0.025, 0.025)]
    canvas.fill(
        [to_pixel(d) for d in details], (0.03, 0.03, 0.03), world.air + (6.0 if ridden else 1.0), **common
    )
    if ridden:
        person(canvas, world, rng, x - 0.12 * facing, z + 0.01, facing, seat=0.1)


def car(
    canvas: Canvas, world: World, rng: np.random.Generator, x: float, z: float, yaw: float, running: bool
) -> None:
    """A car as an extruded profile.

    Args:
      x: metres right of the camera, of the car's middle.
      z: metres ahead.
      yaw: 0 drives towards the camera, pi away from it.
      running: engine, tyres and exhaust are hot and the lights are on at night.
    """
    camera = canvas.camera
    half, tall, long = rng.uniform(0.83, 0.93), rng.uniform(0.96, 1.18), rng.uniform(0.92, 1.08)
    sin, cos = np.sin(yaw), np.cos(yaw)

    turn = np.array([(cos, 0, -sin), (0, tall, 0), (long * sin, 0, long * cos)])
    middle = np.array((x, 0, z)) - 2.16 * turn[2]

    def to_pixel(points):
        return camera.project(np.asarray(points, float) @ turn + middle)

    palette = (
        (0.55, 0.56, 0.57),
        (0.03, 0.03, 0.035),
        (0.20, 0.21, 0.22),
        (0.33, 0.03, 0.03),
        (0.03, 0.07, 0.22),
        (0.62, 0.61, 0.57),
    )
    body = np.array(palette[rng.integers(len(palette))]) * rng.uniform(0.85, 1.15)
    metal = world.air + (1.0 if running else -0.5) + (0.0 if world.night else 5.0)
    glass = world.air - 5.0 + (3.0 if running else 0.0)
    tyre = world.air + (11.0 if running else 1.0)
    common = {"near": 1 / max(z - 1, 1), "label": CAR, "instance": canvas.instance(BOX_CAR)}
    mirror = (0.01, 0.01, 0.012) if world.night else (0.16, 0.19, 0.22)

    def inset(y):
        return half * (1 - 0.4 * max(y - 0.95, 0))

    if running:  # what the engine and the tyres have warmed below
        canvas.shade(
            [to_pixel([(-half, 0, 0), (half, 0, 0), (half, 0, 4.3), (-half, 0, 4.3)])], 1.5, 0.0, -5.0
        )

    side = -np.sign(x * cos - z * sin)  # of the two flanks, the one that faces the camera
    for flank in (-side, side):
        wheels = [
            to_pixel([(flank * half * 0.95, wy, wz) for wz, wy in ellipse((hub, 0.32), 0.33, 0.32)])
            for hub in (0.85, 3.45)
        ]
        canvas.fill(wheels, (0.02, 0.02, 0.02), tyre, sun=0.2, **common)
    lit = max(float(np.array((side * cos, 0, -side * sin)) @ world.sun), 0.15)
    profile = to_pixel([(side * inset(py), py, pz) for pz, py in _SIDE])
    canvas.fill([profile], body, metal, texture=0.05, heat_texture=0.4, sun=lit, **common)
    lower = to_pixel([(side * half, py, pz) for pz, py in _SIDE if py < 0.7] + [(side * half, 0.62, 4.31)])
    canvas.fill([lower], body * 0.7, metal + 1.0, texture=0.05, sun=lit * 0.8, **common)
    panes = [to_pixel([(side * inset(py), py, pz) for pz, py in pane]) for pane in _SIDE_GLASS]
    canvas.fill(panes, (0.02, 0.022, 0.025), glass, emit=mirror, texture=0.05, **common)
    if running:
        hood = to_pixel(
            [(side * half, py, pz) for pz, py in ((0.1, 0.5), (0.1, 0.74), (1.1, 0.9), (1.2, 0.5))]
        )
        canvas.fill([hood], body * 0.95, metal + 5.0, heat_texture=0.8, sun=lit, **common)
    arches = [
        to_pixel([(side * half, wy, wz) for wz, wy in ellipse((hub, 0.33), 0.35, 0.34)])
        for hub in (0.85, 3.45)
    ]
    canvas.fill(arches, (0.02, 0.02, 0.02), tyre, sun=0.2, **common)
    hubs = [
        to_pixel([(side * half, wy, wz) for wz, wy in ellipse((hub, 0.33), 0.2, 0.2)]) for hub in (0.85, 3.45)
    ]
    canvas.fill(hubs, (0.35, 0.35, 0.36), tyre + (6.0 if running else -2.0), sun=0.4, **common)
    _car_end(canvas, world, rng, to_pixel, (half, body, metal, glass, mirror), (x, z, yaw), running, common)


def _car_end(canvas, world, rng, to_pixel, look, place, running, common) -> None:
    """Front or rear of a car, whichever faces the camera."""
    half, body, metal, glass, mirror = look
    x, z, yaw = place
    front = x * np.sin(yaw) + z * np.cos(yaw) > 0
    end, deck, roof = (0.0, 1.05, 1.85) if front else (4.32, 4.0, 3.3)
    lit = max(float(np.array((-np.sin(yaw), 0, -np.cos(yaw))) @ world.sun) * (1 if front else -1), 0.15)
    if abs(np.cos(yaw)) < 0.3:
        return

    def quad(w0, w1, y0, y1, z0, z1):
        return to_pixel([(-w0, y0, z0), (w0, y0, z0), (w1, y1, z1), (-w1, y1, z1)])

    canvas.fill(
        [quad(half * 0.93, half * 0.95, 0.10, 0.3, end, end)],
        (0.01, 0.01, 0.01),
        metal - 1.0,
        sun=0,
        **common,
    )
    wheels = [
        to_pixel(
            [(s * half * k, wy, end) for k, wy in ((0.98, 0.0), (0.72, 0.0), (0.72, 0.35), (0.98, 0.35))]
        )
        for s in (-1, 1)
    ]
    canvas.fill(wheels, (0.015, 0.015, 0.015), world.air + (9.0 if running else 1.0), sun=0.1, **common)
    warm = metal + (7.0 if running and front else 1.5 if running else 0.0)
    canvas.fill(
        [quad(half, half * 0.97, 0.26, 0.74, end, end)],
        body * 0.9,
        warm,
        texture=0.05,
        heat_texture=0.6,
        sun=lit,
        **common,
    )
    canvas.fill(
        [quad(half * 0.97, half * 0.95, 0.74, 0.95, end, deck)],
        body,
        warm,
        texture=0.05,
        sun=lit + 0.2,
        **common,
    )
    canvas.fill(
        [quad(half * 0.95, half * 0.76, 0.94, 1.44, deck, roof)], body, metal, texture=0.04, sun=lit, **common
    )
    canvas.fill(
        [quad(half * 0.86, half * 0.70, 0.99, 1.39, deck, roof)],
        (0.02, 0.02, 0.024),
        glass,
        emit=mirror,
        texture=0.1,
        **common,
    )
    canvas.fill([quad(half, half, 0.26, 0.42, end, end)], (0.05, 0.05, 0.05), metal + 0.5, sun=0.2, **common)
    plate = quad(0.27, 0.27, 0.45, 0.57, end, end)
    canvas.fill([plate], (0.75, 0.75, 0.7), metal, texture=0.02, sun=lit, **common)
    bars = [
        to_pixel([(a, y, end) for a, y in ((a, 0.475), (a + 0.03, 0.475), (a + 0.03, 0.545), (a, 0.545))])
        for a in rng.uniform(-0.23, 0.2, 6)
    ]
    canvas.fill(bars, (0.04, 0.04, 0.04), metal, **common)
    on = running and world.night
    if front:
        canvas.fill(
            [quad(0.45, 0.45, 0.58, 0.7, end, end)],
            (0.04, 0.04, 0.04),
            metal + (16.0 if running else 0),
            heat_texture=1.0,
            **common,
        )
        emit = (16.0, 15.0, 12.5) if on else (0.12, 0.12, 0.12)
        lamps = [to_pixel(_ring(s * half * 0.76, 0.64, end, 0.16, 0.075)) for s in (-1, 1)]
        canvas.fill(lamps, (0.6, 0.6, 0.6), metal + (3.0 if on else 0.0), emit=emit, **common)
        if on:
            canvas.lights.append(((x, 0.9, z - 5.0), (1.3, 1.22, 1.04)))
        return
    emit = (2.6, 0.10, 0.05) if on else (0.05, 0.0, 0.0)
    lamps = [to_pixel(_ring(s * half * 0.8, 0.72, end, 0.15, 0.09)) for s in (-1, 1)]
    canvas.fill(lamps, (0.4, 0.02, 0.02), metal + 0.5, emit=emit, **common)
    if running:
        canvas.fill(
            [to_pixel(_ring(half * 0.55, 0.27, end, 0.05, 0.035))],
            (0.05, 0.05, 0.05),
            world.air + 40.0,
            **common,
        )


def _ring(x, y, z, radius_x, radius_y):
    return [(px, py, z) for px, py in ellipse((x, y), radius_x, radius_y)]
