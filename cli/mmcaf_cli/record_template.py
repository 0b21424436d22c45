"""`mmcaf record-template`."""

import json
from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import CategoryField
from mmcaf_engine.record.template import record_schema, record_template


def record_template_command(path: Path | None, output: Path, force: bool) -> None:
    """Write the record and, beside it, its schema; say what each field takes."""
    bundle = load_bundle(path if path is not None else default_bundle().path)
    spec, text = bundle.manifest.table, bundle.manifest.text
    if spec is None and text is None:
        raise UsageError(f"{bundle.manifest.name} takes no record.", "Run mmcaf-infer with the study alone.")
    schema = output.with_name(f"{output.stem}.schema.json")
    documents = {
        output: record_template(spec, text, schema.name),
        schema: record_schema(spec, text, bundle.manifest.name),
    }
    for file, document in documents.items():
        if file.exists() and not force:
            raise UsageError(f"{file}: exists already.", "Choose another --output, or replace it with --force.")
        try:
            file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as failure:
            raise UsageError(f"{file}: cannot be written: {failure.strerror}.", "Choose another --output.") from None
    print(f"{output}, with its JSON Schema {schema.name}, for {bundle.manifest.name}. Fill in:")
    for entry in () if spec is None else spec.fields:
        takes = (
            ", ".join(entry.categories)
            if isinstance(entry, CategoryField)
            else f"{entry.minimum:g} to {entry.maximum:g} {entry.unit}"
        )
        print(f"  {entry.name:20}{takes}")
    if text is not None:
        for name in text.fields:
            print(f"  {name:20}text; at most {text.max_tokens - 2} word pieces of the report are read")
