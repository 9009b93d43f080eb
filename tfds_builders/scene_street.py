"""What stands still in a synthetic scene: sky, ground, facades, trees, lamps, signs, rails and cones."""

import math
from typing import NamedTuple

import numpy as np

from tfds_builders.scene_canvas import Canvas, Mask, ellipse, limb, noise_tile

CURVE, CAR_STOP, GUARDRAIL, COLOR_CONE, BUMP = 4, 5, 6, 7, 8
SKY, BUILDING, ROAD, SIDEWALK, TERRAIN, VEGETATION, POLE = range(9, 16)
_FAR = 160.0


class World(NamedTuple):
    """The circumstances of one scene: lengths in metres, temperatures in degrees Celsius."""

    night: bool
    air: float
    sun: np.ndarray  # unit vector towards the sun
    bend: float  # the road's middle lies at X = bend * Z**2
    road: float  # half width of the carriageway
    walk: float  # width of each pavement
    beam: float = 1.4  # strength of the own car's headlights
    lamps: bool = True  # whether the street lamps burn at night

    def middle(self, z):
        return self.bend * z * z


def _edge(distance, footprint):
    """Antialiased step: 1 where `distance` > 0, smooth over one pixel's footprint."""
    return np.clip(distance / footprint + 0.5, 0, 1)


def _band(value, low, high, footprint):
    """Antialiased 1 between low and high; fades to its mean where the band is thinner than a pixel."""
    return np.clip(
        np.minimum(value - low, high - value) / footprint + 0.5, 0, np.minimum(1, (high - low) / footprint)
    )


def _window(canvas: Canvas, rows: slice, cols: slice):
    """Pixel centres of a window as a column of rows and a row of columns."""
    return (
        np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5,
        np.arange(cols.start, cols.stop, dtype=np.float32)[None] + 0.5,
    )


def _lookup(tile, row, col):
    return tile[row.astype(np.int32) & 511, col.astype(np.int32) & 511]


def sky(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    """Clear to cloudy sky: bright in the visible by day, the coldest thing in infrared at any time."""
    camera = canvas.camera
    rows = min(int(camera.horizon + camera.focal * camera.eye / _FAR) + 2, camera.height)
    mask = Mask(slice(0, rows), slice(0, camera.width), np.ones((rows, camera.width), np.float32))
    y, _ = _window(canvas, mask.rows, mask.cols)
    up = np.clip((camera.horizon - y) / camera.focal, 0, 1)
    cloud = (
        1
        / (1 + np.exp(-2.2 * (canvas.noise(mask, 1.4) - rng.uniform(-0.8, 1.2))))
        * np.clip(0.35 + 2 * up, 0, 1)
    )
    if world.night:
        glow = np.exp(-5 * up)
        emit = [c * (0.25 + glow + 0.4 * cloud) for c in (0.011, 0.010, 0.014)]
    else:
        clear = [
            h + (t - h) * np.sqrt(up) for h, t in zip((0.72, 0.80, 0.88), (0.16, 0.36, 0.78), strict=True)
        ]
        white = 0.85 + 0.1 * canvas.noise(mask, 1.0, 1)
        emit = [c + cloud * 0.85 * (white - c) for c in clear]
    heat = world.air - 34 * np.sqrt(up) - 5 + 20 * cloud
    canvas.paint(mask, (0, 0, 0), heat, 0.02, emit=emit, sun=0, label=SKY)


def ground(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    """Carriageway with markings, kerbs, pavements and verge, shaded in world coordinates."""
    camera = canvas.camera
    first = max(int(np.ceil(camera.horizon + camera.focal * camera.eye / _FAR)), 0)
    mask = Mask(
        slice(first, camera.height),
        slice(0, camera.width),
        np.ones((camera.height - first, camera.width), np.float32),
    )
    y, x = _window(canvas, mask.rows, mask.cols)
    z = camera.focal * camera.eye / (y - camera.horizon)
    across = (x - camera.center) * z / camera.focal - world.middle(z)
    side = np.abs(across)
    foot = z / camera.focal
    deep = foot * z / camera.eye  # a pixel's length along the road
    shift = rng.integers(0, 512, 4).tolist()
    grain = _lookup(noise_tile(0.6), z * 24 + shift[0], across * 24 + shift[1]) * np.clip(1 - 8 * deep, 0, 1)
    patch = _lookup(noise_tile(1.4), z * 5 + shift[2], across * 12 + shift[3])
    warmth = _lookup(noise_tile(1.4), z * 4 + shift[1], across * 9 + shift[0])

    kerb = _edge(side - world.road, foot)
    pavement = _edge(side - world.road - 0.3, foot)
    verge = _edge(side - world.road - 0.3 - world.walk, foot)
    tracks = np.exp(-np.square((np.abs(side - world.road / 2) - 0.75) / 0.35))
    paint = _band(across, -0.08, 0.08, foot) * _band(z % 6.0, 0, 3.2, deep)
    paint = np.maximum(paint, _band(side, world.road - 0.45, world.road - 0.3, foot))
    crossing = rng.uniform(9, 22) if rng.random() < 0.35 else -9.0
    zebra = (
        _band(z, crossing, crossing + 3, deep)
        * _band(across % 1.0, 0.2, 0.7, foot)
        * (side < world.road - 0.5)
    )
    paint = np.maximum(paint, zebra) * np.clip(0.8 + 0.25 * patch, 0.25, 1)

    slab = np.maximum(_band(z % 1.2, 0, 0.06, deep), _band(across % 0.9, 0, 0.04, foot))
    dark = 0.11 * (1 + 0.16 * patch + 0.13 * grain - 0.18 * tracks)
    pale = 0.27 * (1 + 0.10 * patch + 0.12 * grain - 0.35 * slab)
    edge = 0.38 * (1 + 0.1 * grain)
    grass_light = 1 + 0.28 * patch + 0.45 * grain
    albedo = []
    for asphalt, stone, grass in zip((1, 1, 1.04), (1.04, 1.0, 0.93), (0.13, 0.19, 0.06), strict=True):
        c = dark * asphalt + paint * (0.72 - dark)
        c = c + kerb * (edge - c)
        c = c + pavement * (pale * stone - c)
        albedo.append(c + verge * (grass * grass_light - c))
    base = world.air + (3.0 if world.night else 7.0)
    heat = base + 1.1 * warmth + (1.6 if world.night else 1.0) * tracks * (1 - kerb)
    heat = (
        heat
        - (1.2 if world.night else 2.5) * pavement
        - (2.5 if world.night else 5.0) * verge * (1 + 0.25 * grain)
    )
    cover_z, cover_x = rng.uniform(5, 16), rng.uniform(-world.road, world.road) * 0.7
    cover = _edge(0.42 - np.hypot(across - cover_x, z - cover_z), np.maximum(foot, 0.5 * deep))
    albedo = [c * (1 - 0.45 * cover * (1 + 0.6 * np.sign(np.sin(40 * z)))) for c in albedo]
    heat = heat + 9 * cover
    canvas.paint(mask, albedo, heat, 1 / z, sun=max(world.sun[1], 0.0), label=ROAD)
    canvas.labels[mask.rows][pavement > 0.5] = SIDEWALK
    canvas.labels[mask.rows][verge > 0.5] = TERRAIN
    canvas.labels[mask.rows][(kerb > 0.4) & (pavement < 0.5) & (z < 45)] = CURVE


def facade(canvas: Canvas, world: World, rng: np.random.Generator, wall, style) -> None:
    """One wall: brick or plaster, windows, shop front. `wall` = (x0, z0, x1, z1, height)."""
    camera = canvas.camera
    x0, z0, x1, z1, height = wall
    mask = canvas.mask([camera.project([(x0, 0, z0), (x1, 0, z1), (x1, height, z1), (x0, height, z0)])])
    if mask is None:
        return
    y, x = _window(canvas, mask.rows, mask.cols)
    ray = (x - camera.center) / camera.focal
    if x0 == x1:
        z = np.clip(x0 / np.where(np.abs(ray) < 1e-4, 1e-4, ray), z0, z1)
        along, foot_u = z - z0, z * z / abs(x0) / camera.focal
        normal = np.array([-np.sign(x0), 0, 0])
    else:
        z = np.full_like(ray, z0)
        along, foot_u = ray * z - x0, z / camera.focal
        normal = np.array([0, 0, -1.0])
    foot = z / camera.focal
    up = camera.eye - (y - camera.horizon) * foot
    sunlit = max(float(normal @ world.sun), 0.0)

    bays, storeys = int(along.max() / style["bay"]) + 2, int(height / style["storey"]) + 2
    lit_prob, warm_prob = (0.3, 0.35) if world.night else (0.0, 0.2)
    column = np.clip((along / style["bay"]).astype(int), 0, bays - 1)
    storey = np.clip((up / style["storey"]).astype(int), 0, storeys - 1)
    u, v = along / style["bay"] % 1, up / style["storey"] % 1
    foot_u, foot_v = foot_u / style["bay"], foot / style["storey"]
    low, high = style["window"]
    inside = (up < height - 0.9) & (up > style["storey"])
    glass = _band(u, low, high, foot_u) * _band(v, 0.28, 0.82, foot_v) * inside
    frame = _band(u, low - 0.05, high + 0.05, foot_u) * _band(v, 0.24, 0.87, foot_v) * inside - glass
    cross = np.maximum(
        _band(u, (low + high) / 2 - 0.02, (low + high) / 2 + 0.02, foot_u), _band(v, 0.6, 0.64, foot_v)
    )
    frame, glass = frame + 0.8 * glass * cross, glass * (1 - 0.8 * cross)
    sill = _band(v, 0.2, 0.245, foot_v) * _band(u, low - 0.08, high + 0.08, foot_u) * inside

    course = up / 0.24
    brick = np.maximum(
        _band(course % 1, 0, 0.16, foot / 0.24), _band((along / 0.5 + 0.5 * (course // 1)) % 1, 0, 0.08, foot)
    )
    tone = 1 + 0.12 * canvas.noise(mask, 1.4) + style["grain"] * canvas.noise(mask, 0.6)
    tone = tone - 0.25 * style["brick"] * brick - 0.25 * np.clip(1 - up / 1.2, 0, 1)
    sky_mirror = 0.5 + 0.25 * canvas.noise(mask, 1.4, 1)
    albedo, emit = [], []
    lit = (rng.random((storeys, bays)) < lit_prob)[storey, column] * glass
    curtain = rng.uniform(0.3, 1.0, (storeys, bays)).astype(np.float32)[storey, column] * (
        1 - 0.4 * _edge(v - 0.62, foot_v)
    )
    for wall_colour, lamp, mirror in zip(style["colour"], (1.0, 0.74, 0.42), (0.5, 0.62, 0.75), strict=True):
        c = wall_colour * tone
        c = c + frame * (0.6 - c) + sill * (0.45 - c)
        albedo.append(c + glass * (0.05 + 0.08 * curtain - c))
        mirrored = 0.0 if world.night else 0.45 * mirror * glass * np.clip(sky_mirror, 0.1, 1)
        emit.append(0.55 * lamp * lit * curtain + mirrored)

    warm = (rng.random((storeys, bays)) < warm_prob)[storey, column]
    base = world.air + (2.5 if world.night else 3.0 + 13.0 * sunlit)
    heat = base + style["inner"] + 0.7 * canvas.noise(mask, 1.4, 1)
    heat = heat + 1.8 * _band(v, 0.0, 0.09, foot_v)  # floor slabs leak heat
    pipe = _band(along / style["bay"] % 4, style["pipe"], style["pipe"] + 0.07, foot_u)
    heat = heat + 6 * pipe * np.clip(up / height, 0.3, 0.9) * (up < height - 1.5)
    heat = heat + glass * (world.air - 4 + 9 * warm - heat) + 2.5 * frame * warm
    vent = _band(v, 0.08, 0.2, foot_v) * _band(u, 0.42, 0.58, foot_u) * inside * warm
    heat = heat + 8 * vent
    if style["shop"]:
        front = _band(up, 0.4, 2.6, foot) * _band(along % 4.2, 0.3, 3.9, foot_u * style["bay"])
        board = _band(up, 2.75, 3.35, foot) * _band(along % 8.4, 0.4, 8.0, foot_u * style["bay"])
        letter = rng.random((7, 192)) < 0.55
        letter[:, ::4] = letter[0] = letter[-1] = False
        row, col = np.clip((up - 2.75) / 0.6 * 7, 0, 6).astype(int), (along * 5).astype(int) % 192
        text = letter[row, col] * board
        goods = 0.5 + 0.22 * canvas.noise(mask, 1.0) + 0.25 * _band(up % 0.7, 0, 0.1, foot)
        goods = goods - 0.3 * _band(along % 4.2 % 1.2, 0, 0.08, foot)
        goods = np.clip(goods, 0.04, 1)
        for i, (sign, light) in enumerate(zip(style["sign"], (1.0, 0.9, 0.75), strict=True)):
            albedo[i] = albedo[i] + front * (0.08 * goods - albedo[i])
            albedo[i] = albedo[i] + board * (sign - albedo[i]) + text * (0.8 - albedo[i])
            shine = (0.6 * goods if style["open"] else 0.02) if world.night else 0.16 * goods
            emit[i] = emit[i] + front * shine * light
            if world.night and style["open"]:
                emit[i] = emit[i] + 0.5 * board * sign + text * 0.9
        heat = heat + front * (world.air + 1.5 + 0.5 * np.sin(along) - heat) + board * (base + 0.8 - heat)
    canvas.paint(mask, albedo, heat, 1 / z, emit=emit, sun=sunlit, label=BUILDING)


def wall_style(rng: np.random.Generator) -> dict:
    """Random look of one building."""
    palette = (
        (0.36, 0.15, 0.10),
        (0.42, 0.34, 0.25),
        (0.34, 0.34, 0.33),
        (0.52, 0.45, 0.33),
        (0.28, 0.2, 0.16),
    )
    kind = int(rng.integers(len(palette)))
    half = rng.uniform(0.17, 0.3)
    return {
        "colour": (np.array(palette[kind]) * rng.uniform(0.8, 1.15)).tolist(),
        "brick": float(kind in (0, 4)),
        "grain": 0.10 if kind in (0, 2, 4) else 0.05,
        "bay": rng.uniform(2.4, 4.2),
        "storey": rng.uniform(2.9, 3.6),
        "window": (0.5 - half, 0.5 + half),
        "inner": rng.uniform(-0.8, 1.8),
        "pipe": rng.uniform(0.2, 3.5),
        "shop": rng.random() < 0.55,
        "open": rng.random() < 0.6,
        "sign": rng.uniform(0.03, 0.5, 3).tolist(),
    }


def skyline(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    """Far roofs and treetops that close the street at the horizon."""
    camera = canvas.camera
    x = np.linspace(-4, camera.width + 4, 60)
    for near, low, high, roof in ((0.004, 10, 34, True), (0.006, 5, 9, False)):
        height = (
            rng.uniform(low, high, 12).repeat(5)
            if roof
            else low + (high - low) * np.abs(noise_tile(1.0)[rng.integers(512), :60])
        )
        top = camera.horizon - camera.focal * near * height
        base = np.full_like(x, camera.horizon + camera.focal * camera.eye / _FAR + 1.5)
        outline = np.concatenate([np.stack([x, top], -1), np.stack([x, base], -1)[::-1]])
        colour = (0.2, 0.2, 0.22) if roof else (0.07, 0.10, 0.04)
        common = {"near": near, "sun": 0.4, "label": BUILDING if roof else VEGETATION}
        heat = world.air + (1.5 if roof else 0.0)
        canvas.fill([outline], colour, heat, texture=0.2, heat_texture=0.8, **common)


def tree(canvas: Canvas, world: World, rng: np.random.Generator, x: float, z: float) -> None:
    """Trunk and crown of leaf clumps; leaves stay close to the air's temperature."""
    camera = canvas.camera
    height, radius = rng.uniform(5.5, 9.0), rng.uniform(1.5, 2.6)
    to_pixel = camera.upright(x, z)
    lean = rng.uniform(-0.3, 0.3)
    trunk = [
        limb((0, 0), (lean, height - radius), 0.2, 0.12),
        limb((lean, height - 2 * radius), (1, height - radius), 0.1, 0.05),
    ]
    bark = {"albedo": (0.11, 0.085, 0.06), "texture": 0.25, "heat_texture": 0.6, "sun": 0.4}
    canvas.fill([to_pixel(t) for t in trunk], heat=world.air + 1.5, near=1 / z, label=VEGETATION, **bark)
    mask = canvas.mask([to_pixel(ellipse((lean, height - radius), radius * 1.25, radius * 1.3))])
    if mask is None:
        return
    py, px = _window(canvas, mask.rows, mask.cols)
    dx = ((px - camera.center) * z / camera.focal - x - lean) / radius
    dy = (camera.eye - (py - camera.horizon) * z / camera.focal - height + radius) / radius
    detail = 90.0 / camera.focal * z  # texture grows with the tree on the sensor
    offset = rng.integers(0, 512, 2).tolist()
    clump = _lookup(noise_tile(1.4), py * detail / 9 + offset[0], px * detail / 9 + offset[1])
    leaf = canvas.noise(mask, 0.6)
    cover = np.clip((1 - np.hypot(dx, dy * 0.95) + 0.16 * clump + 0.10 * leaf) * 6 + 0.5, 0, 1)
    cover *= np.clip(2.2 + 0.9 * leaf + 0.6 * clump, 0, 1)
    light = np.clip(
        0.55 + 0.3 * (dy - math.copysign(0.6, -world.sun[0]) * dx) + 0.2 * clump + 0.22 * leaf, 0.08, 1.6
    )
    green = np.array((0.085, 0.13, 0.04)) * rng.uniform(0.7, 1.3) * rng.uniform(0.85, 1.15, 3)
    heat = world.air + (0.3 if world.night else 1.2) + 0.7 * clump + 0.4 * canvas.noise(mask, 1.0, 1)
    near = np.full_like(cover, 1 / z)
    canvas.paint(
        mask._replace(alpha=cover * mask.alpha),
        [c * light * 1.4 for c in green.tolist()],
        heat,
        near,
        sun=0.5 * light,
        label=VEGETATION,
    )


def lamp(canvas: Canvas, world: World, x: float, z: float) -> None:
    """Street lamp: at night a light source for the whole scene, in infrared hardly more than its pole."""
    arm = -math.copysign(1.3, x)
    to_pixel = canvas.camera.upright(x, z)
    pole = [limb((0, 0), (0, 5.9), 0.085, 0.05), limb((0, 5.9), (arm, 6.1), 0.05, 0.04)]
    common = {"near": 1 / z, "label": POLE}
    canvas.fill([to_pixel(p) for p in pole], (0.16, 0.17, 0.17), world.air + 0.5, sun=0.5, **common)
    head = to_pixel(ellipse((arm, 6.03), 0.36, 0.09))
    on = world.night and world.lamps
    emit = (9.0, 6.6, 3.6) if on else (0, 0, 0)
    canvas.fill([head], (0.4, 0.4, 0.4), world.air + (4.0 if on else 1.0), emit=emit, sun=0.6, **common)
    if on:
        canvas.lights.append(((x + arm, 5.9, z), (8.0, 5.8, 3.2)))


def sign(canvas: Canvas, world: World, rng: np.random.Generator, x: float, z: float) -> None:
    """A traffic sign: its print exists in the visible only."""
    to_pixel = canvas.camera.upright(x, z)
    metal = world.air + (0.0 if world.night else 3.0)
    common = {"near": 1 / z, "label": POLE}
    canvas.fill([to_pixel(limb((0, 0), (0, 2.7), 0.04, 0.04))], (0.35, 0.35, 0.36), metal, **common)
    flat = {"heat": metal - 2.0, "texture": 0.03, **common}
    if rng.random() < 0.5:
        canvas.fill([to_pixel(ellipse((0, 2.7), 0.42, 0.42))], (0.6, 0.03, 0.03), **flat)
        canvas.fill([to_pixel(ellipse((0, 2.7), 0.31, 0.31))], (0.8, 0.8, 0.78), **flat)
        bars = [ellipse((dx, 2.7), 0.07, 0.17) for dx in (-0.13, 0.12)]
        canvas.fill([to_pixel(b) for b in bars], (0.03, 0.03, 0.03), **flat)
        return
    board = np.array([(-0.7, 2.3), (0.7, 2.3), (0.7, 3.1), (-0.7, 3.1)])
    canvas.fill([to_pixel(board)], (0.02, 0.10, 0.42), **flat)
    lines = [
        np.array([(a, h), (b, h), (b, h + 0.09), (a, h + 0.09)])
        for h in (2.45, 2.65, 2.85)
        for a, b in np.sort(rng.uniform(-0.6, 0.6, (3, 2)), 1)
    ]
    canvas.fill([to_pixel(line) for line in lines], (0.8, 0.8, 0.8), **flat)


def guardrail(canvas: Canvas, world: World, side: int) -> None:
    """Steel rail on posts along the kerb, from 45 m to the camera."""

    def strips(stations, thickness, low, high):
        ends = [(z, z - thickness) for z in stations]
        at = side * (world.road + 0.45) + world.middle(np.array(ends))
        return [
            canvas.camera.project([(x0, low, z0), (x1, low, z1), (x1, high, z1), (x0, high, z0)])
            for (x0, x1), (z0, z1) in zip(at, ends, strict=True)
        ]

    metal = world.air + (-0.5 if world.night else 2.0)
    for far, close in ((45, 15), (15, 5), (5, 1)):
        stations = np.arange(far, close, -2.0)
        common = {"near": 1.8 / far, "sun": 0.5, "label": GUARDRAIL}
        canvas.fill(strips(stations, 0.12, 0.0, 0.7), (0.3, 0.3, 0.3), metal - 0.5, **common)
        for low, high, tone in ((0.45, 0.56, 0.32), (0.56, 0.66, 0.55), (0.66, 0.76, 0.42)):
            canvas.fill(strips(stations, 2.1, low, high), (tone, tone, tone * 1.03), metal, **common)


def cone(canvas: Canvas, world: World, x: float, z: float) -> None:
    """Orange traffic cone with a white band."""
    to_pixel = canvas.camera.upright(x, z)
    plastic = {"heat": world.air + (0.5 if world.night else 5.0), "near": 1 / z, "label": COLOR_CONE}
    body = [
        [(-0.26, 0), (0.26, 0), (0.26, 0.05), (-0.26, 0.05)],
        [(-0.19, 0.05), (0.19, 0.05), (0.04, 0.75), (-0.04, 0.75)],
    ]
    canvas.fill([to_pixel(b) for b in body], (0.75, 0.14, 0.03), **plastic)
    band = [(-0.14, 0.27), (0.14, 0.27), (0.09, 0.47), (-0.09, 0.47)]
    canvas.fill([to_pixel(band)], (0.85, 0.85, 0.83), **plastic)


def stripes(canvas: Canvas, world: World, box, label: int) -> None:
    """A low block in yellow and black, speed bump or kerb stop; `box` = (x0, x1, z, depth, height)."""
    x0, x1, z, depth, height = box
    edges = np.linspace(x0, x1, 2 * max(int(abs(x1 - x0) / 0.6), 2) + 1)
    common = {"heat": world.air + (2.0 if world.night else 8.0), "near": 1 / z, "label": label}
    for first, colour in ((0, (0.05, 0.05, 0.05)), (1, (0.62, 0.45, 0.04))):
        pieces = list(zip(edges[first:-1:2], edges[first + 1 :: 2], strict=True))
        back = z + depth
        top = [
            [(a, height, z), (b, height, z), (b, 0.6 * height, back), (a, 0.6 * height, back)]
            for a, b in pieces
        ]
        front = [[(a, 0, z - 0.1), (b, 0, z - 0.1), (b, height, z), (a, height, z)] for a, b in pieces]
        canvas.fill(list(map(canvas.camera.project, top)), colour, sun=0.8, **common)
        canvas.fill(list(map(canvas.camera.project, front)), colour, sun=0.4, **common)
