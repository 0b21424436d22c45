"""Draws a chest as a beam sees it from the front: body, lungs, heart, great vessels, airways and bones; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .radiograph_patient import ChestPatient
from .radiograph_plane import F32, Plane, Point, clouds, ellipsoid, near, step, tube

LUNG_DENSITY = 0.26
"""Of aerated lung, relative to water."""
_BEDSIDE_HEART = 1.13
"""How much wider a heart seems in an AP view: it is farther from the detector, and the source nearer."""
_RIBS = 10


@dataclass
class Layers:
    """What the beam passes, [H, W]; findings change it in place.

    body, lung, bone: mm of the whole trunk, of lung within it, and of bone beyond its soft tissue. density: of lung,
    relative to water. vessels: mm of vessels within the lung. metal: mm of what was put on or into the patient, as
    water would weigh.
    """

    body: F32
    lung: F32
    density: F32
    vessels: F32
    bone: F32
    metal: F32

    def fill(self, amount: F32, box: tuple[slice, slice] | None = None) -> None:
        """Replace so many mm of lung by something as dense as water."""
        lung = self.lung if box is None else self.lung[box]
        lung -= np.minimum(lung, amount)

    def water(self) -> F32:
        """All of it as mm of water."""
        inside = self.density * self.lung + np.minimum(self.vessels, self.lung)
        mass: F32 = np.maximum(self.body - self.lung + inside, 0.0) + self.bone + self.metal
        return mass


@dataclass(frozen=True)
class Chest:
    """Measures of one chest on one detector, mm from the centre of the image.

    width: half of the inner width. apex: z of the lungs' top. domes: z of the diaphragm's top, right and left. middle:
    x of the midline. depth: half of the lungs' greatest thickness. heart: half of its width as the view shows it.
    turn: how far the mediastinum is moved by a turned patient.
    """

    width: float
    apex: float
    domes: tuple[float, float]
    middle: float
    depth: float
    heart: float
    turn: float

    def half_width_at(self, z: float) -> float:
        """From the midline to the chest wall at one height."""
        return float(self.half_width(np.array([z], np.float32))[0])

    def half_width(self, z: F32) -> F32:
        """From the midline to the chest wall."""
        up = np.clip((z - (self.apex - 175.0)) / np.float32(175.0), 0.0, 1.0)
        low = np.clip(((self.apex - 175.0) - z) / np.float32(120.0), 0.0, 1.0)
        half: F32 = np.float32(self.width) * (1.0 - up**2.7) ** np.float32(0.5) * (1.0 - 0.06 * low)
        return half

    def diaphragm(self, plane: Plane) -> F32:
        """Height of the domes, z at each x, [1, W]: highest half-way out, falling to the sides."""
        x = (plane.x - np.float32(self.middle)) / np.float32(self.width)
        out = np.clip((np.abs(x) - 0.48) / 0.52, -1.0, 1.0)
        fall = np.where(out > 0.0, 52.0 * np.abs(out) ** 2.2, 16.0 * out**2)
        left = np.clip(0.5 + x / 0.4, 0.0, 1.0)
        height: F32 = (self.domes[0] + (self.domes[1] - self.domes[0]) * left - fall).astype(np.float32)
        return height

    def at(self, side: float, zone: float, depth: float) -> Point:
        """A place in a lung; side: -1, right, or 1; zone: 0, apex, to 1, base; depth: 0, hilum, to 1, wall."""
        dome = self.domes[0 if side < 0 else 1]
        z = self.apex - 14.0 - zone * (self.apex - 26.0 - dome)
        reach = self.half_width_at(z)
        inner = 38.0 + (self.heart * (0.6 if side < 0 else 1.25) - 30.0) * min(1.0, max(0.0, 2.2 * zone - 0.8))
        return z, self.middle + side * (inner + depth * max(reach - inner - 6.0, 4.0))


def make_chest(patient: ChestPatient, rng: np.random.Generator) -> Chest:
    """Place a patient's chest on the detector."""
    bedside = patient.view == "AP"
    apex = float(rng.normal(112.0, 7.0))
    dome = apex - patient.height * (0.80 + 0.20 * patient.inspiration)
    seen = patient.heart_ratio * (_BEDSIDE_HEART if bedside else 1.0) * (1.05 - 0.07 * patient.inspiration)
    return Chest(
        width=patient.width,
        apex=apex,
        domes=(dome, dome - float(rng.normal(11.0, 4.0))),
        middle=float(rng.normal(0.0, 5.0)),
        depth=float(rng.normal(92.0, 5.0)),
        heart=seen * patient.width,
        turn=float(rng.normal(0.0, 5.0 if bedside else 2.5)),
    )


def draw_chest(patient: ChestPatient, chest: Chest, plane: Plane, rng: np.random.Generator) -> Layers:
    """The chest without findings."""
    layers = draw_lungs(patient, chest, plane, rng)
    _airways(chest, plane, layers)
    _vessels(chest, plane, layers, rng)
    _bones(patient, chest, plane, layers, rng)
    _soft_parts(patient, chest, plane, layers, rng)
    return layers


def draw_lungs(patient: ChestPatient, chest: Chest, plane: Plane, rng: np.random.Generator) -> Layers:
    """Trunk and lungs with what lies between them, but no airways, vessels and bones."""
    body = _trunk(patient, chest, plane)
    lung = _lungs(chest, plane)
    lung = np.minimum(_without_mediastinum(patient, chest, plane, lung), 0.86 * body)
    return Layers(
        body=body,
        lung=lung,
        density=np.float32(LUNG_DENSITY) * (1.0 + 0.05 * clouds(rng, plane, 9.0)),
        vessels=np.zeros(plane.shape, np.float32),
        bone=np.zeros(plane.shape, np.float32),
        metal=np.zeros(plane.shape, np.float32),
    )


def _trunk(patient: ChestPatient, chest: Chest, plane: Plane) -> F32:
    fat, wide = patient.fat, chest.width + 22.0
    above = (-400.0, -200.0, -110.0, -40.0, 0.0, 34.0, 62.0, 200.0)
    half = (wide + 4 + fat, wide + fat, wide + 8 + fat, 186.0 + fat, 172.0 + 0.6 * fat, 100.0, 60.0, 57.0)
    thick = (238.0, 226.0, 214.0, 176.0, 140.0, 118.0, 112.0, 110.0)
    up = plane.z - np.float32(chest.apex)
    share = np.abs(plane.x - np.float32(chest.middle)) / _smooth(up, above, half)
    level = np.sqrt(np.maximum(1.0 - share ** np.float32(2.8), 0.0))
    body: F32 = level * (_smooth(up, above, thick) + np.float32(1.3 * fat))
    return body


def _lungs(chest: Chest, plane: Plane) -> F32:
    """Thickness of both lungs with nothing between them; behind the domes some lung reaches lower."""
    share = np.abs(plane.x - np.float32(chest.middle)) / np.maximum(chest.half_width(plane.z), 1.0)
    level = np.sqrt(np.maximum(1.0 - share ** np.float32(2.6), 0.0))
    narrowing = np.clip((plane.z - (chest.apex - 120.0)) / np.float32(120.0), 0.0, 1.0)
    above = plane.z - chest.diaphragm(plane)
    recess = 0.22 * np.clip(1.0 + above / 46.0, 0.0, 1.0)
    share_of_depth = np.maximum(step(-above, 2.5), recess.astype(np.float32))
    thickness: F32 = np.float32(2.0 * chest.depth) * level * (1.0 - 0.5 * narrowing**2) * share_of_depth
    return thickness * (plane.z < chest.apex)


def _without_mediastinum(patient: ChestPatient, chest: Chest, plane: Plane, lung: F32) -> F32:
    """Take heart, great vessels and the rest between the lungs out of them."""
    middle, d = chest.middle + chest.turn, 2.0 * chest.depth
    wide = 21.0 + 0.06 * max(patient.age - 40, 0) + 0.12 * patient.fat
    bent = 3.5 * np.sin((plane.z - np.float32(chest.apex)) / np.float32(31.0))
    column = step(np.abs(plane.x - np.float32(middle - 1.0)) - (np.float32(wide) + bent), 9.0)
    left, low = chest.domes[1], chest.domes[1] + 32.0
    heart = chest.heart
    whole = ellipsoid(plane, (low, middle + 0.26 * heart), (0.80 * heart, 1.04 * heart), angle=-0.5, power=2.3)
    atrium = ellipsoid(plane, (low + 10.0, middle - 0.26 * heart), (0.74 * heart, 0.46 * heart))
    outflow = ellipsoid(plane, (low + 0.62 * heart, middle + 0.16 * heart), (0.66 * heart, 0.52 * heart))
    out = column * np.float32(0.42 * d)
    for part, share in ((whole, 0.66), (atrium, 0.58), (outflow, 0.56)):
        out = np.maximum(out, part * np.float32(share * d))
    knob = 14.0 + 0.07 * max(patient.age - 40, 0)
    arch = (chest.apex - 60.0, middle + wide - 6.0)
    trunk = (chest.apex - 88.0, middle + wide - 6.0)
    out = np.maximum(out, ellipsoid(plane, arch, (knob + 3.0, knob)) * np.float32(0.5 * d))
    out = np.maximum(out, ellipsoid(plane, trunk, (24.0, 13.0)) * np.float32(0.45 * d))
    for side, lift in ((-1.0, 0.0), (1.0, 9.0)):
        hilum = (chest.apex - 104.0 + lift, middle + side * (wide + 12.0))
        out = out + ellipsoid(plane, hilum, (24.0, 15.0)) * np.float32(26.0)
    rest: F32 = lung - np.minimum(lung, out)
    return np.where(plane.z < left - 70.0, 0.0, rest).astype(np.float32)


def _airways(chest: Chest, plane: Plane, layers: Layers) -> None:
    middle = chest.middle + 0.6 * chest.turn
    carina = (chest.apex - 84.0, middle + 1.0)
    layer = np.full(plane.shape, 9.0, np.float32)
    near(
        layer,
        plane,
        np.array([(chest.apex + 75.0, middle), (chest.apex - 20.0, middle - 2.0), carina]),
        np.full(3, 8.5),
    )
    air = tube(layer) * np.float32(8.5)
    for side, down, out in ((-1.0, 26.0, 27.0), (1.0, 22.0, 36.0)):
        layer = np.full(plane.shape, 9.0, np.float32)
        near(layer, plane, np.array([carina, (carina[0] - down, carina[1] + side * out)]), np.full(2, 6.0))
        air = np.maximum(air, tube(layer) * np.float32(6.0))
    layers.body -= np.minimum(1.6 * air, 0.5 * layers.body)


def _vessels(chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator) -> None:
    layer = np.full(plane.shape, 9.0, np.float32)
    radius = np.zeros(plane.shape, np.float32)
    for side, lift in ((-1.0, 0.0), (1.0, 9.0)):
        hilum = np.array([chest.apex - 104.0 + lift, chest.middle + chest.turn + side * 34.0])
        for angle in np.linspace(-1.45, 1.35, 8):
            turned = float(angle + rng.normal(0.0, 0.12))
            way = np.array([-np.sin(turned), side * np.cos(turned)])
            _branch(chest, plane, (layer, radius), rng, hilum, way, float(rng.uniform(3.2, 4.8)), 0)
    layers.vessels += np.float32(1.5) * radius * tube(np.minimum(layer, 1.0))


def _branch(
    chest: Chest,
    plane: Plane,
    drawn: tuple[F32, F32],
    rng: np.random.Generator,
    start: NDArray[np.float64],
    way: NDArray[np.float64],
    radius: float,
    level: int,
) -> None:
    end = start + way * rng.uniform(15.0, 25.0)
    if level > 4 or radius < 0.7 or abs(end[1] - chest.middle) > chest.half_width_at(float(end[0])) - 6.0:
        return
    reach = 1.5 * radius + plane.pixel
    low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
    box = plane.box((low[0], low[1]), (high[0], high[1]))
    layer, radii = (array[box] for array in drawn)
    if layer.size:
        away = np.full(layer.shape, 9.0, np.float32)
        near(away, plane.part(box), np.stack([start, end]), np.full(2, radius))
        closer = away < np.minimum(layer, 1.0)
        layer[closer], radii[closer] = away[closer], radius
    for _ in range(2):
        turned = way + rng.normal(0.0, 0.36, 2)
        turned /= np.linalg.norm(turned)
        _branch(chest, plane, drawn, rng, end, turned, radius * float(rng.uniform(0.66, 0.86)), level + 1)


def _bones(patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator) -> None:
    strength = 1.0 - 0.004 * max(patient.age - 45, 0)
    middle = chest.middle
    front, back = (np.full(plane.shape, 9.0, np.float32) for _ in range(2))
    pitch = (patient.height + 6.0) / 9.2
    for k in range(_RIBS):
        drop = min(30.0 + 9.0 * k, 78.0)
        top = chest.apex + 4.0 - pitch * k
        lateral = top - 0.5 * drop
        reach = chest.half_width_at(min(lateral, chest.apex - 12.0)) + 3.0
        for side in (-1.0, 1.0):
            wobble = rng.normal(0.0, 1.2)
            for layer, turns in ((back, (0.07, 1.62)), (front, (1.55, 2.48 - 0.03 * k))):
                phi = np.linspace(*turns, 13)
                z = top + wobble + 7.0 * np.sin(2.0 * phi) - 0.5 * drop * (1.0 - np.cos(phi))
                points = np.stack([z, middle + side * reach * np.sin(phi)], axis=1)
                near(layer, plane, points, np.full(len(phi), 6.2))
    bone = 6.2 * (tube(back, 0.30) * 1.9 + tube(front, 0.24) * 1.35)
    bone = bone + _spine(patient, chest, plane)
    for side in (-1.0, 1.0):
        layer = np.full(plane.shape, 9.0, np.float32)
        lift = float(rng.normal(0.0, 3.0))
        points = np.array([(-12.0, 14.0), (-10.0, 40.0), (2.0, 80.0), (14.0, 120.0), (18.0, 158.0)])
        points[:, 0] += chest.apex - 4.0 + lift
        points[:, 1] = middle + side * points[:, 1] + chest.turn
        near(layer, plane, points, np.array([9.0, 6.5, 6.0, 6.5, 6.5]))
        bone = bone + 6.5 * tube(layer, 0.34) * 2.0
        bone = bone + _blade(patient, chest, plane, side)
    within = np.clip(layers.body / np.float32(40.0), 0.0, 1.0)
    layers.bone += (np.float32(strength) * bone * within).astype(np.float32)


def _spine(patient: ChestPatient, chest: Chest, plane: Plane) -> F32:
    across = np.sqrt(np.maximum(1.0 - ((plane.x - np.float32(chest.middle)) / 19.0) ** 2, 0.0))
    phase = (plane.z - np.float32(chest.apex)) / np.float32(patient.height / 10.5)
    bodies = 0.76 + 0.24 * np.tanh(4.0 * (np.cos(2.0 * np.pi * phase) + 0.45))
    process = np.exp(-(((plane.x - np.float32(chest.middle + 0.5 * chest.turn)) / 3.2) ** 2))
    spine: F32 = 19.0 * across * bodies + 7.0 * process * np.clip(np.cos(2.0 * np.pi * (phase + 0.3)), 0.0, 1.0)
    return spine


def _blade(patient: ChestPatient, chest: Chest, plane: Plane, side: float) -> F32:
    """The shoulder blade, turned out of the lung in a PA view."""
    bedside = patient.view == "AP"
    inner = chest.middle + side * (chest.width * (0.66 if bedside else 0.90))
    top, tip = chest.apex - 26.0, chest.apex - 150.0
    down = np.clip((np.float32(top) - plane.z) / np.float32(top - tip), -1.0, 2.0)
    out = side * (plane.x - np.float32(inner))
    edge = np.maximum(np.maximum(-out + 10.0 * down, out - 74.0 * (1.0 - down)), np.abs(down - 0.5) * 124.0 - 62.0)
    blade = step(edge, 6.0) * 3.0 + step(np.abs(edge + 3.0) - 2.5, 3.0) * 2.5
    bones: F32 = blade.astype(np.float32)
    return bones


def _soft_parts(patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator) -> None:
    """Breasts, folds of soft tissue, gas in the stomach, unevenness everywhere."""
    size, gas = float(rng.uniform(0.5, 1.0)), rng.random() < 0.6
    if patient.sex == "F":
        for side in (-1.0, 1.0):
            centre = (chest.apex - 158.0, chest.middle + side * 0.56 * chest.width)
            layers.body += ellipsoid(plane, centre, (58.0, 66.0)) * np.float32(46.0 * size)
    place = (chest.domes[1] - 26.0, chest.middle + 62.0)
    bubble = ellipsoid(plane, place, (15.0, 27.0)) * np.float32(42.0 * rng.uniform(0.4, 1.0) * gas)
    layers.body -= np.minimum(bubble * step(plane.z - chest.diaphragm(plane) + 7.0, 3.0), 0.5 * layers.body)
    layers.body *= 1.0 + 0.012 * clouds(rng, plane, 30.0) + 0.006 * clouds(rng, plane, 9.0)


def _smooth(at: F32, knots: tuple[float, ...], values: tuple[float, ...]) -> F32:
    """Values between knots, with level tangents at each."""
    where = np.clip(np.searchsorted(knots, at) - 1, 0, len(knots) - 2)
    low, high = np.take(knots, where), np.take(knots, where + 1)
    share = np.clip((at - low) / (high - low), 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    between: F32 = (np.take(values, where) * (1.0 - share) + np.take(values, where + 1) * share).astype(np.float32)
    return between
