"""`mmcaf record-template`."""

from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import CategoryField, TableSpec, TextSpec
from mmcaf_engine.outputs import Output, write_all
from mmcaf_engine.record.template import record_schema, record_template

from .console import answer, to_json
from .report import DASH, Report


def record_template_command(path: Path | None, output: Path, report: Report) -> None:
    """Write the record and, beside it, its schema; say what each field takes."""
    bundle = load_bundle(path if path is not None else default_bundle().path)
    spec, text, lesion = bundle.manifest.table, bundle.manifest.text, bundle.manifest.lesion_field
    if spec is None and text is None:
        raise UsageError(f"{bundle.manifest.name} takes no record.", "Run mmcaf-infer with the study alone.")
    schema = output.with_name(f"{output.stem}.schema.json")
    record = record_template(spec, text, schema.name, lesion=lesion)
    if output == DASH:
        del record["$schema"]
        answer(to_json(record))
        return
    documents = {output: record, schema: record_schema(spec, text, bundle.manifest.name, lesion=lesion)}
    outputs = [Output("output", file) for file in documents]
    report.check(*outputs, inputs=[bundle.folder, bundle.archive])
    texts = [to_json(document) + "\n" for document in documents.values()]
    write_all(list(zip(outputs, texts, strict=True)), force=report.force)
    fields = _fields(spec, text)
    fields |= {} if lesion is None else {lesion: "slices of the lesion, such as 40-52, or their SOPInstanceUIDs"}
    heading = f"{output}, with its JSON Schema {schema.name}, for {bundle.manifest.name}. Fill in:"
    report.give(
        lambda: "\n".join([heading, *(f"  {name:20}{takes}" for name, takes in fields.items())]),
        lambda: to_json({"record": str(output), "schema": str(schema), "fields": fields}),
    )


def _fields(spec: TableSpec | None, text: TextSpec | None) -> dict[str, str]:
    """What each field takes, in words."""
    fields = {}
    for entry in () if spec is None else spec.fields:
        if isinstance(entry, CategoryField):
            fields[entry.name] = ", ".join(entry.categories)
        else:
            fields[entry.name] = f"{entry.minimum:g} to {entry.maximum:g} {entry.unit}"
    if text is not None:
        takes = f"text; at most {text.max_tokens - 2} word pieces of the report are read"
        fields |= dict.fromkeys(text.fields, takes)
    return fields
