"""A page as one file: its head, its style sheet, and the policy that lets a browser run and fetch nothing."""

import base64
import hashlib

from .markup import Child, Markup, tag


def document(title: str, style: str, *body: Child) -> str:
    """The whole page, which needs nothing but itself.

    Content Security Policy Level 3: nothing is allowed but pictures within the page and this one style sheet, told by
    its SHA-256; so neither a style attribute nor a second style sheet has any effect.

    Args:
        style: the style sheet, as `stylesheet` gives it.
        body: what is seen.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang='en')}\n"
