"""The look of every page: one set of colours for a light and one for a dark screen, named by what they are for."""

from collections.abc import Mapping

LIGHT = {
    "page": "#f4f6f8",
    "card": "#ffffff",
    "ink": "#161b22",
    "soft": "#556070",
    "line": "#dde2e8",
    "track": "#edf0f4",
    "accent": "#1d5fc4",
    "pale": "#9cc0f2",
    "good": "#0d7544",
    "bad": "#b3261e",
    "badge": "#fff1cc",
    "badge-ink": "#6a4a00",
}
"""Colours of a light screen: text is `ink`, `soft`, `good`, `bad` and `accent`, on `page` or `card`."""

DARK = {
    "page": "#0e1217",
    "card": "#171d25",
    "ink": "#e7ebf0",
    "soft": "#a2adbb",
    "line": "#2a323d",
    "track": "#222a34",
    "accent": "#6ea8ff",
    "pale": "#355a8f",
    "good": "#5fd39a",
    "bad": "#ff8f86",
    "badge": "#43350c",
    "badge-ink": "#ffdf8a",
}

_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Liberation Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;
overflow-wrap:break-word}
main,header,footer{max-width:1080px;margin:0 auto;padding:0 20px}
header{padding-top:36px}
h1{font-size:30px;line-height:1.2;margin:2px 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:19px;margin:0 0 4px}
h3{font-size:15px;margin:22px 0 2px}
p{margin:0 0 10px}
.eyebrow{color:var(--accent);font-weight:600;font-size:13px;letter-spacing:.04em;margin:0}
.soft,caption,.lead{color:var(--soft)}
.lead{max-width:76ch;margin-bottom:14px}
.badge{display:inline-block;background:var(--badge);color:var(--badge-ink);border-radius:999px;padding:1px 10px;
font-size:12.5px;font-weight:600;vertical-align:middle;margin-left:10px;letter-spacing:0}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;padding:12px 0 18px;font-size:14px}
a{color:var(--accent);text-decoration:none}
a:hover,a:focus-visible{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin:0 0 18px;
scroll-margin-top:12px}
.notice{border-color:var(--bad);border-left-width:5px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:2px 26px;margin:14px 0 20px;padding:0}
.cards div{border-top:2px solid var(--line);padding:9px 0 6px}
.cards dt{color:var(--soft);font-size:13px}
.cards dd{margin:0;font-size:25px;font-weight:650;letter-spacing:-.015em;line-height:1.25}
.cards dd small{display:block;font-size:13px;font-weight:400;letter-spacing:0;color:var(--soft)}
.scroll{overflow-x:auto;margin:0 -4px 8px;padding:0 4px}
table{border-collapse:collapse;width:100%;font-size:14px}
caption{text-align:left;font-size:13px;padding:0 0 6px}
th,td{padding:7px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;font-weight:400}
th:first-child,td:first-child{text-align:left;padding-left:0}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--soft);font-size:12.5px;font-weight:600;vertical-align:bottom;white-space:normal}
tbody tr:last-child>*{border-bottom:0}
tbody th{font-weight:600}
tfoot th,tfoot td{border-top:1px solid var(--line);border-bottom:0;color:var(--soft)}
td.words,th.words{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:11em}
td.wide,th.wide{width:44%;min-width:220px}
thead th{min-width:4.6em}
td.gauge{width:17%;min-width:90px}
tr.first th{color:var(--accent)}
.bar{display:block;width:100%;height:12px;background:var(--track);border-radius:3px}
.solid{fill:var(--accent)}
.pale{fill:var(--pale)}
details{border-top:1px solid var(--line);padding:10px 0 4px}
details[open]{padding-bottom:14px}
summary{cursor:pointer;font-weight:600;padding:3px 0}
summary span{font-weight:400;color:var(--soft);margin-left:8px}
details details{margin-top:8px;border-top:0;padding:0}
details details summary{font-weight:400;color:var(--accent);font-size:14px}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:5px 20px;margin:0;font-size:14px}
dl.facts dt{color:var(--soft)}
dl.facts dd{margin:0;overflow-wrap:anywhere}
ul.notes{margin:0;padding-left:18px;font-size:14px;overflow-wrap:anywhere}
ul.notes li{margin-bottom:5px}
.good{color:var(--good);font-weight:600}
.bad{color:var(--bad);font-weight:600}
footer{padding:4px 20px 44px;color:var(--soft);font-size:13.5px}
@media(max-width:640px){section{padding:18px 16px}
dl.facts{grid-template-columns:1fr;gap:0}dl.facts dd{margin-bottom:8px}}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
.paper{display:none}
@media print{body{background:none}nav,.screen{display:none!important}.paper{display:block}
section{break-inside:avoid}}
"""


def stylesheet(*rules: str, light: Mapping[str, str] | None = None, dark: Mapping[str, str] | None = None) -> str:
    """A page's whole CSS: what is common to all pages, and what is its own. Paper is light whatever the screen is.

    Args:
        rules: of this page.
        light, dark: more colours, by the name of their variable.
    """
    common = f":root{{color-scheme:light dark;{_variables({**LIGHT, **(light or {})})}}}"
    on_dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables({**DARK, **(dark or {})})}}}}}"
    return "".join((common, on_dark, _RULES, *rules))


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
