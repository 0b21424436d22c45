"""Elements that say how images were made, beside those that `frames.Frame` has: all of texts."""

_STEADY = (
    *("SOPClassUID", "Modality", "SeriesNumber", "PatientPosition", "EchoNumbers", "FlipAngle", "InversionTime"),
    *("MRAcquisitionType", "ScanningSequence", "SequenceVariant", "SequenceName", "RescaleType"),
    *("ReconstructionDiameter", "FilterType", "StudyDate", "ContrastBolusRoute", "GantryDetectorTilt"),
    *("DeviceSerialNumber", "StationName", "Manufacturer", "ManufacturerModelName"),
)
_OTHER = (
    *("RepetitionTime", "TriggerTime", "ProtocolName", "ScanOptions", "SeriesDate", "SeriesTime"),
    *("ContrastBolusStartTime", "ContrastBolusVolume", "ContrastBolusTotalDose", "SpacingBetweenSlices"),
    *("XRayTubeCurrent", "ExposureTime", "Exposure", "Laterality", "SoftwareVersions", "DerivationDescription"),
    *("ImageComments", "StudyDescription", "PerformedProcedureStepID", "AccessionNumber", "StudyID"),
    *("BodyPartExamined", "NumberOfAverages", "PixelBandwidth", "EchoTrainLength"),
    *("InPlanePhaseEncodingDirection", "DataCollectionDiameter", "CardiacNumberOfImages", "HeartRate"),
    *("ImagingFrequency", "FocalSpots", "FrameReferenceTime", "TableHeight"),
)

OF_ACQUISITION = {**dict.fromkeys(_STEADY, True), **dict.fromkeys(_OTHER, False)}
"""Keyword -> whether scanners write the same into all slices of a volume."""
