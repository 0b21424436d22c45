"""The program itself on a damaged study or record: how it ends, and what it prints."""

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from numpy.random import Generator

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.errors import MmcafError

from .case import Answer, Case, Maker, choose, digest
from .files import SECRETS, any_study
from .json_tree import damaged_json
from .nested import odd_elements

RECORD = {"sex": "F", "age": 63, "patient_id": "PHI-4711"}
DOCUMENTED = (2, 3, 4, 5, 6, 7, 124)
MAX_SAID = 8000
"""Characters that one refusal may print."""


class RefusedError(MmcafError):
    """The command ended with a documented code, and one paragraph."""


class UndocumentedEndError(Exception):
    """It ended with another code, or printed what it should not have."""


def commands(folder: Path, bundle: Path) -> Maker:
    """`mmcaf-infer` on studies of two other kinds, and on flat records."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = [any_study(folder / "files"), odd_elements(folder / "elements")]
    study, record = folder / "study.dcm", folder / "record.json"
    sound = save(ct_series(hounsfield(4, 16, 16)), folder / "sound")

    def make(draw: Generator) -> Case:
        given = sound
        if draw.random() < 0.7:
            inner = choose(draw, makers)(draw)
            study.write_bytes(inner.data)
            given, data, what = study, inner.data, f"study: {inner.what}"
            record.write_text(json.dumps(RECORD), encoding="utf-8")
        else:
            data, what = damaged_json(RECORD, draw), "record: values"
            record.write_bytes(data)
        words = [given, record, "--bundle", bundle, "--json", *(["--strict"] if draw.random() < 0.3 else [])]
        return Case(lambda: _run(words), what, data, None, () if given == sound else SECRETS)

    return make


def _run(words: Sequence[object]) -> Answer:
    from mmcaf_cli import infer

    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["mmcaf-infer", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            infer.main()
        except SystemExit as stop:
            code = stop.code or 0
    said = err.getvalue()
    if code == 0:
        result = json.loads(out.getvalue())
        return Answer(digest(result["probabilities"]), (said, out.getvalue()))
    if code not in DOCUMENTED or out.getvalue() or "Traceback" in said or len(said) > MAX_SAID:
        raise UndocumentedEndError(f"exit code {code}, {len(out.getvalue())} characters on stdout, said {said[-2000:]}")
    raise RefusedError(f"exit code {code}: {said}")
