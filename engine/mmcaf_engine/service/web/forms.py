"""A form as a browser sends it: names and values, within limits."""

from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from .context import said

TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 500
MOST_BYTES = 2**21


async def read_form(request: Request) -> dict[str, str]:
    """What was typed; of a name that stands twice, the first.

    Raises:
        HTTPException: it is no form, too long, or not in UTF-8.
    """
    length = int(request.headers.get("content-length", "0"))  # The door has seen that it is a number.
    if length and request.headers.get("content-type", "").partition(";")[0].strip().lower() != TYPE:
        raise HTTPException(415, said(f"A form is expected, {TYPE}."))
    if length > MOST_BYTES:
        raise HTTPException(413, said(f"A form has at most {MOST_BYTES} bytes."))
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise HTTPException(400, said("The form cannot be read.")) from None
    return dict(reversed(pairs))
