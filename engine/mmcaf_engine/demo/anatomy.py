"""Draws a phantom's chest slice by slice: fat, muscle, lungs, heart, great vessels, spine, ribs, couch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .thorax import Thorax, ellipse

F32 = NDArray[np.float32]

_FAT, _MUSCLE, _AIR = -100.0, 52.0, -1000.0


def draw_slice(thorax: Thorax, z: float, y: F32, x: F32, edge: float) -> F32:
    """One axial slice in HU, [len(y), len(x)]; y and x in mm, `edge` the width of soft edges in mm."""
    y, x = y[:, None], x[None, :]
    hu = np.full((y.shape[0], x.shape[1]), _AIR, np.float32)
    s = float(thorax.taper(z))
    outer_x = thorax.cavity_x * (0.4 + 0.6 * s) + 10.0 + thorax.muscle
    outer_y = thorax.cavity_y * (0.4 + 0.6 * s) + 9.0 + 0.7 * thorax.muscle

    body = ellipse(y, x, 0.0, 0.0, outer_y + 0.8 * thorax.fat, outer_x + thorax.fat, 2.4)
    for side in (-1.0, 1.0):
        if thorax.breast and z < 30.0:
            breast = ellipse(y, x, -outer_y + 4.0, side * 0.48 * outer_x, 0.75 * thorax.breast, 0.40 * outer_x, 2.0)
            body = np.minimum(body, breast)
    _paint(hu, body, _FAT, edge)
    if thorax.breast and z < 20.0:
        for side in (-1.0, 1.0):
            gland = ellipse(y, x, -outer_y - 8.0, side * 0.48 * outer_x, 0.35 * thorax.breast, 0.2 * outer_x, 2.0)
            _paint(hu, gland, 15.0, 6.0)
    muscle = ellipse(y, x, 0.0, 0.0, outer_y, outer_x, 2.4)
    _paint(hu, muscle, _MUSCLE, edge)
    wall = thorax.wall(z, y, x)
    _paint(hu, np.maximum(muscle + 5.0, -(muscle + 8.0)), _FAT, 3.0)

    _ribs(hu, thorax, z, y, x, wall, edge)
    mediastinum = thorax.mediastinum(z, y, x)
    lung = np.maximum(wall, -mediastinum)
    _paint(hu, wall, -70.0, edge)
    gravity = 28.0 * (y / thorax.cavity_y)
    _paint(hu, lung, thorax.lung_hu + gravity, edge)
    spine_y = thorax.cavity_y - 4.0
    _heart_and_vessels(*_window(hu, y, x, (-80.0, spine_y), (-60.0, 85.0)), thorax, z, edge)
    _spine(*_window(hu, y, x, (spine_y - 20.0, spine_y + 56.0), (-36.0, 36.0)), thorax, z, edge)
    _couch(hu, y, x, outer_y + 0.8 * thorax.fat + 4.0, edge)
    return hu


def _window(
    hu: F32, y: F32, x: F32, y_range: tuple[float, float], x_range: tuple[float, float]
) -> tuple[F32, F32, F32]:
    """Part of a slice within two ranges in mm, as views of hu, y and x."""
    rows = slice(*np.searchsorted(y[:, 0], y_range))
    columns = slice(*np.searchsorted(x[0], x_range))
    return hu[rows, columns], y[rows], x[:, columns]


def _paint(hu: F32, distance: F32, value: Any, edge: float) -> None:
    """Blend `value` into `hu` where the signed distance is negative."""
    weight = np.clip(0.5 - distance / edge, 0.0, 1.0)
    hu += weight * (value - hu)


def _heart_and_vessels(hu: F32, y: F32, x: F32, thorax: Thorax, z: float, edge: float) -> None:
    blood = thorax.blood_hu
    h = float(thorax.heart_size(z))
    if h > 0.1:
        radius = thorax.heart * h
        cy = -0.12 * thorax.cavity_y
        _paint(hu, ellipse(y, x, cy, 20.0, 0.78 * radius - 3.0, radius - 3.0, 2.2), blood + 6.0, edge)
        _paint(hu, ellipse(y, x, cy + 6.0, 27.0, 0.3 * radius, 0.4 * radius, 2.0), blood, 4.0)
    spine_y = thorax.cavity_y - 8.0
    _paint(hu, ellipse(y, x, spine_y - 26.0, 19.0, 12.0, 12.0, 2.0), blood, edge)  # descending aorta
    if z > thorax.heart_top_z - 10.0:
        _paint(hu, ellipse(y, x, -26.0, -10.0, 15.0, 15.0, 2.0), blood, edge)  # ascending aorta
        _paint(hu, ellipse(y, x, -14.0, -27.0, 8.0, 9.0, 2.0), blood, edge)  # superior vena cava
    below = thorax.carina_z - z
    if -5.0 < below < 30.0:  # pulmonary trunk and the two main arteries
        _paint(hu, ellipse(y, x, -22.0, 16.0, 13.0, 14.0, 2.0), blood, edge)
        _paint(hu, ellipse(y, x, -4.0, 0.0, 8.0, 38.0, 2.4), blood, edge)
    _paint(hu, ellipse(y, x, spine_y - 32.0, 2.0, 6.0, 8.0, 2.0), 35.0, edge)  # oesophagus
    if below < 0.0:
        _airway(hu, y, x, 8.0, 0.0, 9.0, edge)
    elif below < 34.0:
        for side in (-1.0, 1.0):
            _airway(hu, y, x, 10.0, side * (8.0 + 0.9 * below), 6.5, edge)


def _airway(hu: F32, y: F32, x: F32, cy: float, cx: float, radius: float, edge: float) -> None:
    tube = ellipse(y, x, cy, cx, radius, radius, 2.0)
    _paint(hu, tube - 1.8, 30.0, edge)
    _paint(hu, tube, -980.0, edge)


def _spine(hu: F32, y: F32, x: F32, thorax: Thorax, z: float, edge: float) -> None:
    cy = thorax.cavity_y - 4.0
    disc = abs((z + 200.0) % 24.0 - 12.0) > 9.5
    body = ellipse(y, x, cy, 0.0, 15.0, 19.0, 2.3)
    if disc:
        _paint(hu, body, 85.0, edge)
    else:
        _paint(hu, body, thorax.bone_hu + 260.0, edge)
        _paint(hu, body + 2.5, thorax.bone_hu - 30.0, edge)
    canal = ellipse(y, x, cy + 23.0, 0.0, 8.0, 10.0, 2.0)
    arch = np.maximum(canal - 5.0, -(canal - 1.0))
    spinous = np.maximum(np.abs(x) - 3.5, np.abs(y - cy - 40.0) - 12.0)
    transverse = np.maximum(np.abs(x) - 32.0, np.abs(y - cy - 22.0) - 4.0)
    bone = np.minimum(arch, spinous) if disc else np.minimum(np.minimum(arch, spinous), transverse)
    _paint(hu, bone, thorax.bone_hu + 180.0, edge)
    _paint(hu, canal, 30.0, edge)


def _ribs(hu: F32, thorax: Thorax, z: float, y: F32, x: F32, wall: F32, edge: float) -> None:
    """Oblique ribs: a shell around the cavity, cut into bands that climb from front to back."""
    shell = np.abs(wall - 5.5) - 3.8
    rise = 2.6 * np.arctan2(np.abs(x), -y)  # radians from the sternum to the spine
    band = np.cos(2.0 * np.pi * z / 26.0 - rise * 2.0)
    rib = np.maximum(shell, (0.15 - band) * 6.0)
    _paint(hu, rib, thorax.bone_hu + 230.0, edge)
    _paint(hu, rib + 2.6, thorax.bone_hu, edge)
    sternum = np.maximum(np.abs(x) - 16.0, np.abs(wall - 6.0) - 5.0)
    front = np.maximum(sternum, y)
    _paint(hu, front, thorax.bone_hu + 120.0, edge)
    _paint(hu, front + 2.5, thorax.bone_hu - 60.0, edge)
    if z > 0.0:
        for side in (-1.0, 1.0):  # shoulder blades
            u = 0.62 * (x * side - 0.72 * thorax.cavity_x) + 0.78 * (y - 0.86 * thorax.cavity_y)
            v = -0.78 * (x * side - 0.72 * thorax.cavity_x) + 0.62 * (y - 0.86 * thorax.cavity_y)
            blade = np.maximum(np.abs(u - 9.0) - 2.6, np.abs(v) - 26.0)
            _paint(hu, blade, thorax.bone_hu + 200.0, edge)


def _couch(hu: F32, y: F32, x: F32, top: float, edge: float) -> None:
    surface = y - (top - 0.0009 * x * x)
    shell = np.maximum(np.abs(surface - 2.0) - 1.2, np.abs(x) - 205.0)
    _paint(hu, shell, -180.0, edge)
