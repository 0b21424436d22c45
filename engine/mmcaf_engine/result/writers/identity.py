"""What an object that holds a result is called: other content, another identifier; the same content, the same."""

import json
from hashlib import sha256
from uuid import NAMESPACE_OID, UUID, uuid5

from ..result import Result


def object_uuid(result: Result, kind: str) -> UUID:
    """Of one object that is made of a result: a UUID of version 5 (RFC 9562) of the whole result but its timings.

    Args:
        kind: which of them.
    """
    fields = result.to_dict()
    del fields["timing_ms"]
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return uuid5(NAMESPACE_OID, f"{kind} {sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}")
