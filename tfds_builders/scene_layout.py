"""Where things stand in a synthetic scene: buildings, trees, traffic, people, and the shadows they cast."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from tfds_builders import scene_actors as actors
from tfds_builders import scene_street as street
from tfds_builders.scene_canvas import Canvas, ellipse, limb
from tfds_builders.scene_street import World


class _Plan:
    """What will be painted, by distance, and the footprints (x, z, radius, height) that cast shadows."""

    def __init__(self, canvas: Canvas, world: World, rng: np.random.Generator):
        self.canvas, self.world, self.rng = canvas, world, rng
        self.things: list[tuple[float, Callable]] = []
        self.footprints: list[tuple[float, float, float, float]] = []

    def kerb(self, side: int, z: float, out: float) -> float:
        """X of the point `out` metres beyond the carriageway's edge."""
        return float(side * (self.world.road + out) + self.world.middle(z))

    def side(self) -> int:
        return int(self.rng.choice((-1, 1)))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def add(self, z: float, draw: Callable, footprint: tuple | None = None) -> None:
        """Adds a thing at distance z, unless another one stands in its way."""
        if footprint is not None:
            if footprint[3] < 2 and any(_collide(footprint, other) for other in self.footprints):
                return
            self.footprints.append(footprint)
        self.things.append((z, draw))

    def actor(self, draw: Callable, x: float, z: float, radius: float, height: float, *rest) -> None:
        """Adds a thing that draws itself at (x, z)."""
        self.add(z, partial(draw, self.canvas, self.world, self.rng, x, z, *rest), (x, z, radius, height))


def populate(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    """Draws up what stands in the scene, casts its shadows, then paints it from far to near."""
    plan = _Plan(canvas, world, rng)
    for side in (-1, 1):
        _line_street(plan, side)
    _add_street_furniture(plan)
    _add_traffic(plan)
    _add_people(plan)
    for footprint in plan.footprints:
        _cast(canvas, world, *footprint)
    for _, draw in sorted(plan.things, key=lambda thing: -thing[0]):
        draw()


def _collide(one, other) -> bool:
    """Whether two things stand in each other's way; below a crown there is room."""
    reach = min(one[2], 1.6) + (other[2] if other[3] < 2 else 0.3)
    return abs(one[0] - other[0]) < 0.6 * reach and abs(one[1] - other[1]) < 1.4 * reach


def _line_street(plan: _Plan, side: int) -> None:
    """Buildings and street trees, or a park, along one side."""
    rng, world = plan.rng, plan.world
    built, z = plan.chance(0.72), rng.uniform(3, 9)
    while built and z < 55:
        length, height, gap = rng.uniform(9, 22), rng.uniform(6, 19), float(rng.choice((0, 0, 3, 6)))
        x = plan.kerb(side, z + length / 2, 0.3 + world.walk + rng.uniform(0, 1.0))
        back, style = x + math.copysign(9, x), street.wall_style(rng)
        end_wall = (min(x, back), z, max(x, back), z, height)
        plan.add(
            z + length + 0.1,
            partial(street.facade, plan.canvas, world, rng, end_wall, {**style, "shop": False}),
        )
        plan.add(
            z + length, partial(street.facade, plan.canvas, world, rng, (x, z, x, z + length, height), style)
        )
        if not world.night:
            _cast_wall(plan.canvas, world, x, z, length, height)
        z += length + gap
    for z in (
        np.arange(rng.uniform(6, 14), 50, rng.uniform(9, 16)) if built else rng.uniform(5, 60, 10)
    ).tolist():
        if not built or plan.chance(0.5):
            plan.actor(street.tree, plan.kerb(side, z, 0.9 if built else rng.uniform(1.2, 12)), z, 1.8, 6.5)
    if plan.chance(0.3):
        plan.add(60.0, partial(street.guardrail, plan.canvas, world, side))


def _add_street_furniture(plan: _Plan) -> None:
    rng, canvas, world = plan.rng, plan.canvas, plan.world
    side = plan.side()
    for z in np.arange(rng.uniform(7, 13), 60, 17.0).tolist():
        x = plan.kerb(side, z, 0.6)
        plan.add(z, partial(street.lamp, canvas, world, x, z), (x, z, 0.1, 5.0))
    for _ in range(rng.integers(0, 3)):
        z = rng.uniform(7, 25)
        plan.add(z, partial(street.sign, canvas, world, rng, plan.kerb(plan.side(), z, 0.7), z))
    if plan.chance(0.3):
        side, start = plan.side(), rng.uniform(5, 10)
        for i in range(int(rng.integers(2, 6))):
            z = start + 2.2 * i
            x = plan.kerb(side, z, -0.9 - 0.25 * i)
            plan.add(z, partial(street.cone, canvas, world, x, z), (x, z, 0.2, 0.7))
    if plan.chance(0.25):
        z = rng.uniform(7, 16)
        bump = (plan.kerb(-1, z, -0.1), plan.kerb(1, z, -0.1), z, 0.6, 0.1)
        plan.add(z + 3, partial(street.stripes, canvas, world, bump, street.BUMP))
    if plan.chance(0.3):
        side, start = plan.side(), rng.uniform(5, 9)
        for z in (start, start + 3.0, start + 6.0):
            x = plan.kerb(side, z, 1.4)
            plan.add(
                z, partial(street.stripes, canvas, world, (x - 0.8, x + 0.8, z, 0.25, 0.2), street.CAR_STOP)
            )


def _add_traffic(plan: _Plan) -> None:
    rng, world = plan.rng, plan.world
    z = {-1: rng.uniform(9, 18), 1: rng.uniform(7, 16)}
    for _ in range(rng.integers(1, 5)):
        side = plan.side()
        yaw = (0.0 if side < 0 else math.pi) + rng.normal(0, 0.03)
        plan.actor(actors.car, plan.kerb(side, z[side], -world.road / 2), z[side], 1.6, 1.0, yaw, True)
        z[side] += rng.uniform(8, 22)
    if plan.chance(0.45):
        side = plan.side()
        for at in np.arange(rng.uniform(6, 14), 36, rng.uniform(5.8, 9)).tolist():
            plan.actor(
                actors.car, plan.kerb(side, at, -0.85), at, 1.6, 1.0, 0.0 if side < 0 else math.pi, False
            )
    if plan.chance(0.25):
        yaw = plan.side() * math.pi / 2
        plan.actor(actors.car, rng.uniform(-4, 4), rng.uniform(11, 24), 1.9, 1.0, yaw, True)


def _add_people(plan: _Plan) -> None:
    rng, world = plan.rng, plan.world
    for _ in range(rng.integers(2, 8)):
        z = rng.uniform(4.5, 12) if plan.chance(0.45) else rng.uniform(8, 32)
        x = plan.kerb(plan.side(), z, rng.uniform(0.5, world.walk))
        if plan.chance(0.25):
            x = float(rng.uniform(-0.8, 0.8) * world.road + world.middle(z))
        plan.actor(actors.person, x, z, 0.25, 1.6, plan.side())
    for _ in range(rng.integers(0, 3)):
        z, ridden = rng.uniform(5.5, 20), plan.chance(0.65)
        x = plan.kerb(plan.side(), z, -0.9 if ridden else rng.uniform(0.8, 2.0))
        plan.actor(actors.bicycle, x, z, 0.5, 1.0, plan.side(), ridden)


def _cast_wall(canvas: Canvas, world: World, x: float, z: float, length: float, height: float) -> None:
    dx, dz = -world.sun[[0, 2]] / world.sun[1] * height
    corners = [(x, 0, z), (x + dx, 0, z + dz), (x + dx, 0, z + length + dz), (x, 0, z + length)]
    if x * dx < 0:
        canvas.shade([canvas.camera.project(corners)], 2.0, 0.88, 2.5)


def _cast(canvas: Canvas, world: World, x: float, z: float, radius: float, height: float) -> None:
    """Contact shadow at any time, a cast shadow by day."""
    if z > 40:
        return

    def on_ground(points):
        return canvas.camera.project(np.insert(points, 1, 0, axis=1))

    base = np.array((x, z))
    pixels = canvas.camera.focal / z
    contact = on_ground(ellipse(base, radius, radius))
    canvas.shade([contact], min(0.12 * pixels, 6), 0.5, 0.3, occlusion=0.45)
    if world.night:
        return
    tip = base - world.sun[[0, 2]] / world.sun[1] * height
    stretched = [on_ground(limb(base, tip, radius, radius)), on_ground(ellipse(tip, radius, radius))]
    canvas.shade(stretched, min(0.06 * pixels, 4), 0.78, 1.2)
