"""The identifier of a bundle as a device, for objects that name what made them."""

from uuid import NAMESPACE_URL, uuid5


def device_uid(sha256: str) -> str:
    """A Device UID (0018,1002) of a bundle: another content, another UID.

    It is of the form for UIDs that are derived from a UUID (DICOM PS3.5 B.2): 2.25. and the UUID as a decimal number.
    The UUID is of version 5 (RFC 9562 5.5): of the name urn:sha256:... in the namespace of URLs.

    Args:
        sha256: the bundle's, lower-case hexadecimal.
    """
    return f"2.25.{uuid5(NAMESPACE_URL, f'urn:sha256:{sha256}').int}"
