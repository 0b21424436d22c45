"""`mmcaf serve backup | restore | purge`: copies of what a service keeps, and what it keeps no longer."""

import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from mmcaf_engine.errors import Remedy, UsageError
from mmcaf_engine.outputs import Output, StagedFile, refused, scratch_beside
from mmcaf_engine.service.backup import write_backup
from mmcaf_engine.service.config import read_config
from mmcaf_engine.service.database import open_existing
from mmcaf_engine.service.purge import purge_study
from mmcaf_engine.service.restore import Restored, restore
from mmcaf_engine.service.retention import prune

from .console import to_json, warn
from .report import Report


def backup_command(file: Path, output: Path, images: bool, report: Report) -> None:
    """Write the archive."""
    config, target = read_config(file), Output("output", output)
    report.check(target, inputs=[file, config.spool])
    with scratch_beside(target) as scratch, refused(target):
        staged = StagedFile(output, replace=report.force)
        try:
            contents = write_backup(config.spool, staged.stream, scratch, images=images, now=time.time())
            staged.commit()
        finally:
            staged.discard()
    if contents.missing:
        warn(f"{len(contents.missing)} files that state.db names are not in the spool, nor in the archive.")
    size = output.stat().st_size
    with_images = "with" if images else "without"
    report.give(
        lambda: (
            f"{output}: {len(contents.files)} files {with_images} images, {size / 1e6:.1f} MB; "
            "it holds patients' data, as the spool does"
        ),
        lambda: to_json(
            {
                "created": contents.created,
                "schema": contents.schema,
                "images": images,
                "files": len(contents.files),
                "bytes": size,
                "missing": contents.missing,
            }
        ),
    )


def restore_command(file: Path, archive: Path, report: Report) -> None:
    """Bring it back."""
    config = read_config(file)
    done = restore(config, archive, time.time())
    report.give(lambda: "\n".join(_lines(done)), lambda: to_json(asdict(done)))


def purge_command(file: Path, study: str | None, force: bool, report: Report) -> None:
    """Remove."""
    if force and study is None:
        raise UsageError("--force belongs to --study.", Remedy("Name the study", option="study", value="UID"))
    config = read_config(file)
    with closing(open_existing(config.spool)) as memory:
        if study is None:
            removed = prune(memory, config.spool, config.retention, time.time())
            report.give(
                lambda: (
                    f"removed the images of {removed.studies} studies, the results of {removed.answers} answers, "
                    f"and {removed.orphans} files that nothing names"
                ),
                lambda: to_json(asdict(removed)),
            )
            return
        purged = purge_study(memory, config.spool, study, time.time(), force=force)
    report.give(
        lambda: (
            f"removed one study: {purged.images} images, {purged.answers} answers with {purged.results} folders of "
            f"results, {purged.records} records"
        ),
        lambda: to_json(asdict(purged)),
    )


def _lines(done: Restored) -> list[str]:
    made = done.reconciled
    told = {
        "files that the archive lacks and the spool had": made.linked,
        "results that were frozen since, and are sent as they are": made.adopted,
        "images that came since, and are received again": made.images,
        "records that came since": made.records,
        "studies that must be sent again, as their images are gone": made.waiting,
        "answered studies whose images are gone": made.pruned,
    }
    lines = [f"restored what was there at {done.made}: {done.studies} studies, {done.answers} answers"]
    lines += [f"  {number:6} {what}" for what, number in told.items() if number]
    if done.aside is not None:
        lines.append(f"what the spool held is in its folder {done.aside}; remove that once nothing of it is missed")
    return lines
