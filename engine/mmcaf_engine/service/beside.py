"""What is made of a study's images, or stands beside them: it is kept, and is no reason to answer the study again."""

import sqlite3

_CLASSES = ("7", "9", "11", "66", "67", "68", "88", "104", "481")
"""Of PS3.4 B.5: secondary captures, waveforms, presentation states, segmentations, mappings, surfaces, reports and key
objects, documents, radiotherapy."""
_BESIDE = tuple(f"1.2.840.10008.5.1.4.1.1.{one}" for one in _CLASSES)


def is_beside(sop_class: str) -> bool:
    """Whether a SOP class is none of images that a scanner makes."""
    return any(sop_class == one or sop_class.startswith(f"{one}.") for one in _BESIDE)


def has_images(connection: sqlite3.Connection, study: str) -> bool:
    """Whether a study has anything else: one of secondary captures alone goes on with them."""
    rows = connection.execute("select distinct sop_class from instance where study = ?", (study,))
    return not all(is_beside(row["sop_class"]) for row in rows)
