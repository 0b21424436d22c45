"""An answer made by hand: one window of one series, and a record of two fields."""

from mmcaf_engine.result.result import (
    EngineSummary,
    ModelSummary,
    RecordSummary,
    Result,
    SeriesSummary,
    StudySummary,
    WindowScore,
    Wording,
)

UID = "1.2.840.1"


def tiny_result(*warnings: str, sources: tuple[str, ...] = ()) -> Result:
    """Study, record and the result as a whole say the same warnings, and these as remarks; a series for each of the
    sources.
    """
    spacing = (1.0, 1.0, 1.0)
    series = tuple(SeriesSummary("image", source, "the only one", 1, spacing) for source in sources)
    return Result(
        label="loud",
        probability=0.7,
        probabilities={"quiet": 0.3, "loud": 0.7},
        logit=0.8,
        threshold=0.5,
        windows=(WindowScore(0, 0.8, 0.7),),
        study=StudySummary({"study": UID}, "CT", 1, spacing, warnings, series),
        record=RecordSummary({"age": 0.5}, ("weight",), warnings),
        model=ModelSummary("tiny", "0" * 64),
        engine=EngineSummary("openvino", "fp32", "CPU", None),
        timing_ms={"total": 1.0},
        warnings=warnings,
        disclaimer="",
        wording=Wording("loud", (), windows=True),
        remarks=warnings,
    )
