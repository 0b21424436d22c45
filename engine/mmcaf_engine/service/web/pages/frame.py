"""What every page of the service has: its head, where it leads, and what a browser may do with it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from fastapi.responses import HTMLResponse

from ....page.document import document, policy
from ....page.markup import Child, Markup, join, tag
from ....result.result import NOT_A_MEDICAL_DEVICE
from ...life import NOT_STARTED
from ...records import REFUSED
from ...states import ANSWER_STATES
from .script import SCRIPT
from .style import page_style

PLACES = {"/": "Worklist", "/figures": "Throughput", "/health": "Health"}
AGAIN_S = 30
"""Without scripts, a page that follows the service is loaded again after so long."""
EVENTS = " ".join(["received", "complete", "pruned", REFUSED, NOT_STARTED, *ANSWER_STATES])


def page(
    title: str,
    *parts: Child,
    heading: str | None = None,
    here: str = "",
    status: int = 200,
    leave: bool = False,
    wide: bool = False,
    follows: bool = True,
) -> HTMLResponse:
    """A whole page.

    Args:
        title: in the browser's tab and history, so of no patient.
        heading: above the page, where it says more than the title.
        here: which of PLACES it is.
        leave: somebody is logged in, and may log out.
        wide: it uses a large screen.
        follows: it is kept up to date by the script, in its parts made by `live`.
    """
    script = SCRIPT if follows else ""
    style = page_style()
    links = [tag("a", name, href=path, aria_current="page" if path == here else None) for path, name in PLACES.items()]
    told = tag("p", "", id="told", role="status", class_="soft") if follows else None
    out = tag("form", tag("button", "Log out", class_="quiet"), method="post", action="/logout") if leave else None
    head = tag(
        "div",
        tag("p", "mmcaf", tag("small", "answers beside the scanner"), class_="brand"),
        tag("nav", *links, aria_label="Pages") if leave or here or follows else None,
        out,
        class_="top",
    )
    body = tag(
        "div",
        tag("a", "To the content", href="#content", class_="skip"),
        tag("header", head, tag("h1", heading or title)),
        tag("main", *parts, id="content", tabindex=-1),
        tag("footer", told, tag("p", NOT_A_MEDICAL_DEVICE)),
        class_="wide" if wide else None,
    )
    text = document(
        f"{title} - mmcaf", style, body, script=script, served=True, again_s=AGAIN_S if follows else None
    ).replace("<body>", f'<body data-events="{EVENTS}">', 1)
    headers = {
        "Content-Security-Policy": f"{policy(style, script, served=True)}; frame-ancestors 'none'",
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(text, status, headers)


def live(name: str, *parts: Child, tag_: str = "div") -> Markup:
    """A part that the script keeps up to date."""
    return tag(tag_, *parts, id=name, data_live="")


def button(action: str, label: str, *, fields: dict[str, str] | None = None, main: bool = False, name: str) -> Markup:
    """A form of one button, that changes something; `name` is an identity in the page."""
    hidden = [tag("input", type="hidden", name=key, value=value) for key, value in (fields or {}).items()]
    return tag(
        "form",
        *hidden,
        tag("button", label, id=name, class_="main" if main else None),
        method="post",
        action=action,
    )


def moment(seconds: float | None) -> Markup:
    """A time by this machine's clock, with its day where that is not today; the source of the page has it in UTC."""
    if seconds is None:
        return join("")
    at = datetime.fromtimestamp(seconds, UTC)
    local, now = at.astimezone(), datetime.now(UTC).astimezone()
    shown = local.strftime("%H:%M:%S" if local.date() == now.date() else "%Y-%m-%d %H:%M:%S")
    return tag("time", shown, datetime=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def span(seconds: float) -> str:
    """A length of time in one or two units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s" if seconds >= 10 or seconds == whole else f"{max(seconds, 0):.1f} s"
    for unit, size, part, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"


def age(seconds: float) -> str:
    """How long ago something was, so roughly that it does not change from look to look."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"for {int(seconds // size)} {unit}"
    return "just now"


def study_address(uid: str, *more: str) -> str:
    """Of a study's page, or of something of it."""
    return "/".join(["/studies", quote(uid, safe=""), *more])


def notice(head: str, *lines: Child, alert: bool = True) -> Markup:
    """Something that must be seen first."""
    said = [tag("p", line) if not isinstance(line, Markup) else line for line in lines if line]
    return tag("section", tag("h2", head), *said, class_="notice", role="alert" if alert else None)


_LOOKS = {
    **dict.fromkeys(("delivered", "committed", "ready", "done", "complete"), "good"),
    **dict.fromkeys(("refused", "failed", "expired", "not ready", REFUSED), "bad"),
    **dict.fromkeys(("waiting-record", "delayed"), "wait"),
    **dict.fromkeys(("received", "queued", "running", "written", "sending"), "move"),
}
_WORDS = {
    "received": "coming in",
    "waiting-record": "record missing",
    "written": "answered",
    "delayed": "sending delayed",
    "superseded": "replaced",
    REFUSED: "record refused",
}


def words_of(state: str) -> str:
    """A state as a person reads it."""
    return _WORDS.get(state, state)


def badge(state: str, said: str = "") -> Markup:
    """A state, told by its word and not by its colour alone."""
    return tag("span", said or words_of(state), class_=f"state {_LOOKS.get(state, 'over')}")


def states_of(names: Sequence[str]) -> Markup:
    """Several, side by side."""
    return tag("span", *(badge(name) for name in names), class_="states")
