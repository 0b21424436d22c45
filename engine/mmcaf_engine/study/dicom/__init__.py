"""DICOM instances, frames and pixels."""
