"""`mmcaf record-template`."""

import json
from pathlib import Path

from mmcaf_engine.bundle import load_bundle
from mmcaf_engine.default_bundle import default_bundle
from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import CategoryField
from mmcaf_engine.record_template import record_schema, record_template


def record_template_command(path: Path | None, output: Path, force: bool) -> None:
    """Write the record and, beside it, its schema; say what each field takes."""
    bundle = load_bundle(path if path is not None else default_bundle().path)
    spec = bundle.manifest.table
    if spec is None:
        raise UsageError(f"{bundle.manifest.name} takes no record.", "Run mmcaf-infer with the study alone.")
    schema = output.with_name(f"{output.stem}.schema.json")
    documents = {
        output: record_template(spec, schema.name),
        schema: record_schema(spec, bundle.manifest.name),
    }
    for file, document in documents.items():
        if file.exists() and not force:
            raise UsageError(f"{file}: exists already.", "Choose another --output, or replace it with --force.")
        try:
            file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as failure:
            raise UsageError(f"{file}: cannot be written: {failure.strerror}.", "Choose another --output.") from None
    print(f"{output}, with its JSON Schema {schema.name}, for {bundle.manifest.name}. Fill in:")
    for entry in spec.fields:
        takes = (
            ", ".join(entry.categories)
            if isinstance(entry, CategoryField)
            else f"{entry.minimum:g} to {entry.maximum:g} {entry.unit}"
        )
        print(f"  {entry.name:20}{takes}")
