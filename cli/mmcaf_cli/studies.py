"""`mmcaf studies`."""

from dataclasses import asdict
from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.inputs.listing import list_study
from mmcaf_engine.study import SeriesEntry, SeriesList

from .console import to_json, warn
from .report import Report


def studies_command(path: Path, modality: str | None, bundle: Path | None, report: Report) -> None:
    """Print the series that could be read, as text or JSON; with a bundle, which input each would be."""
    report.check(inputs=[path, bundle])
    manifest = None if bundle is None else load_bundle(bundle).manifest
    found = list_study(path, manifest=manifest, modality=modality)
    for warning in found.warnings:
        warn(warning)
    report.give(lambda: "\n".join(_render(found)), lambda: to_json(asdict(found)))


def _render(found: SeriesList) -> list[str]:
    lines = []
    for entry in found.series:
        lines.append(f"{'*' if entry.chosen else ' '} {entry.number:2}  {_describe(entry)}")
        read = f"read as {entry.input}" if entry.input else "read" if entry.chosen else "not read"
        lines.append(f"      {read}: {entry.reason}")
        known = f"{entry.reason} {found.problem}"
        lines += [f"      would be refused: {entry.refused}"] if entry.refused and entry.refused not in known else []
        lines += [f"      {entry.source}"] if entry.source not in ("", entry.description) else []
    left_out = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
    lines += [f"left out, files: {left_out}"] if left_out else []
    lines += [f"remark: {remark}" for remark in found.remarks]
    if found.problem and not found.series:
        lines.append(f"none can be read: {found.problem}")
    elif found.problem and any(entry.input for entry in found.series):
        lines += [f"refused: {problem}" for problem in found.problem.splitlines()]
    elif found.problem and "\n" not in found.problem:
        lines.append(f"refused: {found.problem}")
    elif found.problem:
        lines.append("none would be read without --series NUMBER")
    return lines


def _describe(entry: SeriesEntry) -> str:
    number = "no series number" if entry.series_number is None else f"series {entry.series_number}"
    matrix = "" if entry.rows is None else f" x {entry.rows} x {entry.columns}"
    spacing = " x ".join("?" if value is None else f"{value:.2f}" for value in entry.spacing_mm)
    parts = [number, entry.modality or "no modality", f"{entry.slices}{matrix}", f"{spacing} mm", entry.plane]
    parts += [] if entry.original else ["derived"]
    parts += [f'"{entry.description}"'] if entry.description else []
    parts += [entry.label] if entry.label else []
    parts += [f"kernel {entry.kernel}"] if entry.kernel else []
    return ", ".join(parts)
