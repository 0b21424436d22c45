"""What an object that holds a result is called: other content, another identifier; the same content, the same."""

import json
from hashlib import sha256
from uuid import NAMESPACE_OID, UUID, uuid5

from ..result import Result


def result_digest(result: Result) -> str:
    """Of the whole result but its timings: what the identifiers of its objects are derived from."""
    fields = result.to_dict()
    del fields["timing_ms"]
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def object_uuid(digest: str, kind: str) -> UUID:
    """Of one object that is made of a result: a UUID of version 5 (RFC 9562).

    Args:
        digest: the result's, as `result_digest` gives it.
        kind: which of its objects.
    """
    return uuid5(NAMESPACE_OID, f"{kind} {digest}")
