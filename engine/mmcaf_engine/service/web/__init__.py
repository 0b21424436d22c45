"""The service over HTTP: its API, DICOMweb, health and metrics."""
