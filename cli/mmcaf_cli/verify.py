"""`mmcaf verify`."""

from pathlib import Path

from mmcaf_engine.backends.registry import BACKENDS, backend_class
from mmcaf_engine.backends.split import IN_PARTS
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BackendError, UnsupportedNetworkError
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.session.self_test import run_self_test


def verify_command(path: Path, only: str | None) -> None:
    """Self-test every precision on every backend that can run it; the first failure ends it with its exit code.

    Where a backend does not compute such a network, that is said and is no failure.
    """
    bundle = load_bundle(path)
    bundle.verify()
    manifest = bundle.manifest
    print(f"{manifest.name}: {len(manifest.files)} files, every hash matches")
    tested = 0
    for name in BACKENDS if only is None else (only,):
        backend = backend_class(name)
        answer = backend.availability()
        if not answer.available:
            if only is not None:
                raise BackendError(f"Backend {name} cannot run here: {answer.reason}.", "See what can: mmcaf doctor")
            print(f"{name}: not tested, {answer.reason}")
            continue
        for precision, file in manifest.models.items():
            answer = backend.can_run(precision)
            if not answer.available:
                print(f"{name} {precision}: not tested, {answer.reason}")
                continue
            model = bundle.file(file)
            kinds = {f"{name} {precision}": backend}
            if manifest.parts is not None and precision in manifest.parts.models and name in IN_PARTS:
                kinds[f"{name} {precision} in two parts"] = IN_PARTS[name]
            for title, kind in kinds.items():
                try:
                    with kind.of(manifest, model, usable_cores(), precision) as opened:
                        outcome = run_self_test(bundle, opened)
                except UnsupportedNetworkError as failure:
                    print(f"{title}: not tested, {failure.problem.removesuffix('.')}")
                    continue
                print(
                    f"{title}: {outcome.cases} golden cases within {outcome.max_abs_error:.1e} "
                    f"(at most {outcome.tolerance:g})"
                )
                tested += 1
    if not tested:
        raise BackendError("No backend could be tested here.", "See why: mmcaf doctor")
