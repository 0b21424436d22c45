"""Draws findings into a chest, and what can be taken for one; numpy only. Severity 0 is hardly visible."""

from __future__ import annotations

import numpy as np

from .radiograph_anatomy import Chest, Layers
from .radiograph_patient import ChestFinding, ChestPatient
from .radiograph_plane import F32, Plane, clouds, ellipsoid, near, step, tube


def draw_findings(patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers) -> None:
    """Draw all findings of a patient, in place; cardiomegaly is in the heart's measures already."""
    by_name = {finding.name: finding for finding in patient.findings}
    draw = {"Consolidation": _consolidation, "Mass": _mass, "Nodule": _nodules, "Effusion": _effusion}
    for at, (name, function) in enumerate(draw.items()):
        if name in by_name:  # With its own numbers, so that no other finding changes it.
            rng = np.random.default_rng([patient.seed, 23, at])
            function(by_name[name], patient, chest, plane, layers, rng)
    if "Pneumothorax" in by_name:  # Last: it pushes away whatever was drawn.
        _pneumothorax(by_name["Pneumothorax"], chest, plane, layers)


def draw_distractors(
    patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator
) -> None:
    """Nipples, skin folds and haze that are no findings, and at the bedside leads and a catheter."""
    bedside = patient.view == "AP"
    fold, haze, nipple = rng.random(3)
    side = 1.0 if rng.random() < 0.5 else -1.0
    if nipple < 0.22:
        for each in (-1.0, 1.0):
            centre = (chest.apex - 168.0 + float(rng.normal(0.0, 6.0)), chest.middle + each * 0.62 * chest.width)
            layers.body += ellipsoid(plane, centre, (5.0, 5.0)) * np.float32(rng.uniform(4.0, 10.0))
    if bedside and fold < 0.35:
        x = chest.middle + side * chest.width * float(rng.uniform(0.62, 0.86))
        line = np.stack([np.linspace(chest.apex - 10.0, chest.apex - 160.0, 9), np.linspace(x - 8.0 * side, x, 9)], 1)
        away = np.float32(side) * (plane.x - np.interp(-plane.z, -line[:, 0], line[:, 1]).astype(np.float32))
        layers.body += np.exp(-np.clip(-away, 0.0, None) / 9.0) * (away < 0) * np.float32(7.0)
    if haze < 0.30:
        z, x = chest.at(side, float(rng.uniform(0.3, 0.95)), float(rng.uniform(0.1, 0.6)))
        layers.fill(ellipsoid(plane, (z, x), (34.0, 30.0)) ** 2 * np.float32(rng.uniform(4.0, 13.0)))
    if bedside:
        _leads(chest, plane, layers, rng)


def _sides(finding: ChestFinding) -> tuple[float, ...]:
    return tuple(-1.0 if side == "right" else 1.0 for side in finding.sides)


def _effusion(
    finding: ChestFinding, patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator
) -> None:
    """Fluid that stands higher at the chest wall; under someone who lies, a veil over the lower lung."""
    lying = patient.view == "AP" and rng.random() < 0.55
    for side, share in zip(_sides(finding), (1.0, float(rng.uniform(0.5, 0.9))), strict=False):
        severity = finding.severity * share
        dome = chest.domes[0 if side < 0 else 1]
        here = side * (plane.x - np.float32(chest.middle))
        out = np.clip(here / np.maximum(chest.half_width(plane.z), 1.0), 0.0, 1.0)
        floor = dome - 46.0
        if lying:
            up = np.clip((plane.z - np.float32(floor)) / np.float32(70.0 + 110.0 * severity), 0.0, 1.0)
            depth = (6.0 + 44.0 * severity) * (1.0 - up) ** 1.3 * step(-here + 20.0, 20.0)
            level = (floor + 8.0 + 26.0 * severity + 8.0 * out**3).astype(np.float32)
            depth = depth + 90.0 * step(plane.z - level, 8.0) * (here > 0)
        else:
            level = (floor + 6.0 + 64.0 * severity + (8.0 + 34.0 * severity) * out**3).astype(np.float32)
            depth = 200.0 * step(plane.z - level, 9.0) * step(-here + 14.0, 14.0)
        layers.fill(depth.astype(np.float32))


def _mass(
    finding: ChestFinding, patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator
) -> None:
    radius = 15.0 + 15.0 * finding.severity
    z, x = chest.at(_sides(finding)[0], finding.zone, finding.depth)
    _ball(chest, plane, layers, (z, x), radius, 0.20, 1.1 + 0.8 * finding.severity, rng)


def _nodules(
    finding: ChestFinding, patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator
) -> None:
    for at, side in enumerate(_sides(finding)):
        radius = 4.5 + 7.5 * finding.severity * (1.0 - 0.2 * at)
        zone = finding.zone if at == 0 else float(rng.uniform(0.2, 0.8))
        z, x = chest.at(side, zone, finding.depth)
        _ball(chest, plane, layers, (z, x), radius, 0.08, 1.7 + 1.2 * finding.severity, rng)


def _ball(
    chest: Chest,
    plane: Plane,
    layers: Layers,
    centre: tuple[float, float],
    radius: float,
    lobulation: float,
    density: float,
    rng: np.random.Generator,
) -> None:
    """A lobulated ball, as thick as wide, within the lung."""
    phases, reach = rng.uniform(0.0, 2.0 * np.pi, 3), 1.4 * radius
    box = plane.box((centre[0] - reach, centre[1] - reach), (centre[0] + reach, centre[1] + reach))
    part = plane.part(box)
    dz, dx = part.z - np.float32(centre[0]), part.x - np.float32(centre[1])
    angle = np.arctan2(dz, dx)
    waves = sum(np.sin((k + 2) * angle + phase) for k, phase in enumerate(phases))
    share = np.hypot(dz, dx) / (np.float32(radius) * (1.0 + np.float32(lobulation / 2.0) * waves))
    thickness = np.sqrt(np.maximum(1.0 - share**2, 0.0)) * np.float32(2.0 * radius * density * 0.75)
    layers.fill(thickness.astype(np.float32), box)


def _consolidation(
    finding: ChestFinding, patient: ChestPatient, chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator
) -> None:
    """Patches of filled lung with soft edges, and the bronchi that stay open in them."""
    for side in _sides(finding):
        z, x = chest.at(side, finding.zone, 0.15 + 0.6 * finding.depth)
        size = 24.0 + 26.0 * finding.severity
        blob = ellipsoid(plane, (z, x), (1.5 * size, 1.5 * size), power=2.0)
        patches = np.clip(0.55 + 0.55 * clouds(rng, plane, 17.0), 0.0, 1.3)
        layer = np.full(plane.shape, 9.0, np.float32)
        for _ in range(4):
            way = np.array([rng.normal(0.0, 0.6), side * rng.uniform(0.3, 1.0)])
            points = np.array([z, x]) + np.array([[-0.5], [0.6]]) * size * way
            near(layer, plane, points, np.full(2, 1.7))
        open_share = 1.0 - 0.35 * (layer < 1.0)
        amount = (9.0 + 46.0 * finding.severity) * blob**1.5 * patches * open_share
        layers.fill(amount.astype(np.float32))


def _pneumothorax(finding: ChestFinding, chest: Chest, plane: Plane, layers: Layers) -> None:
    """Air between chest wall and lung, widest at the apex: no vessels, a thin pleural line."""
    side = _sides(finding)[0]
    wide = 5.0 + 34.0 * finding.severity
    here = side * (plane.x - np.float32(chest.middle))
    down = np.clip((np.float32(chest.apex) - plane.z) / np.float32(190.0), 0.0, 1.0)
    inset = np.float32(0.8 * wide) * (1.0 - down) + np.float32(0.22 * wide) * finding.severity
    fallen = plane.z + np.float32(1.3 * wide) * (1.0 - down)
    squeezed = np.maximum(here - chest.half_width(fallen) + inset, fallen - np.float32(chest.apex))
    half = here > 0.0
    free: F32 = (step(-squeezed, 2.0) * half).astype(np.float32)
    layers.density *= 1.0 - free * np.float32(0.85)
    layers.vessels *= 1.0 - free
    line = np.exp(-((squeezed / 1.3) ** 2)) * half * (plane.z > chest.domes[0 if side < 0 else 1] + 12.0)
    layers.vessels += line.astype(np.float32) * np.float32(5.5)
    inner = (squeezed < 0.0) & half
    layers.density[inner] *= np.float32(1.0 + 0.35 * finding.severity)  # What is left of the lung is denser.


def _leads(chest: Chest, plane: Plane, layers: Layers, rng: np.random.Generator) -> None:
    """Wires and pads of a monitor, and sometimes a catheter from the neck to the heart."""
    layer = np.full(plane.shape, 9.0, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        pad = np.array([chest.apex - rng.uniform(10.0, 190.0), chest.middle + rng.uniform(-0.9, 0.9) * chest.width])
        end = np.array([chest.apex - 310.0, chest.middle + rng.uniform(-90.0, 90.0)])
        bend = 0.5 * (pad + end) + rng.normal(0.0, 22.0, 2)
        along = np.linspace(0.0, 1.0, 11)[:, None]
        points = (1 - along) ** 2 * pad + 2 * along * (1 - along) * bend + along**2 * end
        near(layer, plane, points, np.full(len(points), 1.3))
        near(layer, plane, np.stack([pad, pad + 0.1]), np.full(2, 5.0))
    metal = (layer < 1.0) * np.float32(13.0)
    if rng.random() < 0.4:
        line = np.full(plane.shape, 9.0, np.float32)
        x = chest.middle + chest.turn
        points = np.array(
            [(chest.apex + 60.0, x - 34.0), (chest.apex - 20.0, x - 24.0), (chest.apex - 105.0, x - 22.0)]
        )
        near(line, plane, points, np.full(3, 1.3))
        metal = np.maximum(metal, tube(line) * np.float32(9.0))
    layers.metal += metal.astype(np.float32)
