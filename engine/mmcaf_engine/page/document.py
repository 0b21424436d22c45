"""A page as one file: its head, its style sheet, and the policy that lets a browser run and fetch nothing else."""

import base64
import hashlib
import re

from .markup import Child, Markup, tag

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def policy(style: str, script: str = "", *, served: bool = False) -> str:
    """What a browser may do with a page, by Content Security Policy Level 3.

    Nothing is allowed but pictures within the page, this one style sheet and this one script, each told by its SHA-256;
    so neither a style attribute nor a second style sheet or script has any effect.

    Args:
        served: the page may send forms and ask for more, both to where it came from alone.
    """
    parts = ["default-src 'none'", "img-src data:", f"style-src {_digest(style)}", "base-uri 'none'"]
    parts.append("form-action 'self'" if served else "form-action 'none'")
    if script:
        parts.append(f"script-src {_digest(script)}")
    if served:
        parts.append("connect-src 'self'")
    return "; ".join(parts)


def policy_of(page: str) -> str:
    """What a browser may do with a page that `document` has made and a file has kept: its style sheet, and no more."""
    found = _STYLE.search(page)
    return policy(found[1] if found else "")


def document(
    title: str, style: str, *body: Child, script: str = "", served: bool = False, again_s: int | None = None
) -> str:
    """The whole page, which needs nothing but itself; what a browser may do with it says `policy`.

    Args:
        style: the style sheet, as `stylesheet` gives it.
        body: what is seen.
        script: run where the body ends.
        served: by a service: see `policy`. Who is told where a request came from is then that service alone.
        again_s: without scripts, the page is loaded again after so long.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script, served=served)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="same-origin" if served else "no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("noscript", tag("meta", http_equiv="refresh", content=again_s)) if again_s is not None else None,
        tag("title", title),
        tag("style", Markup(style)),
    )
    run = tag("script", Markup(script)) if script else None
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body, run), lang='en')}\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
