"""DICOM's own network protocol (PS3.7, PS3.8): what receives images, and what sends results."""
