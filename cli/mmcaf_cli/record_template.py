"""`mmcaf record-template`."""

import json
from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import CategoryField
from mmcaf_engine.outputs import Output, check_writable, write_all
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
    outputs = [Output("output", file) for file in documents]
    check_writable(outputs, inputs=[bundle.folder, bundle.archive], force=force)
    texts = [json.dumps(document, indent=2, ensure_ascii=False) + "\n" for document in documents.values()]
    write_all(list(zip(outputs, texts, strict=True)), force=force)
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
