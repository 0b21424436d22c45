"""Where a browser shows the token, once."""

from fastapi import Response

from ....page.markup import tag
from .frame import page


def login_page(problem: str | None = None, *, status: int = 200) -> Response:
    """The form. problem: why it was not taken."""
    about = {"aria_describedby": "login-error", "aria_invalid": "true"} if problem else {}
    form = tag(
        "form",
        tag("p", problem, class_="problem bad", id="login-error", role="alert") if problem else None,
        tag("label", "Token of this service", for_="token"),
        tag(
            "input",
            type="password",
            name="token",
            id="token",
            required=True,
            autocomplete="current-password",
            autofocus=True,
            **about,
        ),
        tag("button", "Log in", class_="main", id="login"),
        tag("p", "It is in the file that the configuration names as token_file.", class_="soft"),
        method="post",
        action="/login",
    )
    return page("Log in", tag("section", form, class_="login"), status=status, follows=False)
