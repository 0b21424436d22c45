"""The look of the service's pages: what they have beside that of every page."""

from functools import cache

from ....page.style import stylesheet

_RULES = """
body{display:flex;flex-direction:column;min-height:100vh}
main,header,footer{width:100%;max-width:1180px}
.wide main,.wide header,.wide footer{max-width:1900px}
header{padding-top:20px}
header .top{display:flex;flex-wrap:wrap;gap:6px 24px;align-items:center;justify-content:space-between;
border-bottom:1px solid var(--line);padding-bottom:10px;margin-bottom:16px}
header .top nav{padding:0;gap:4px 20px;font-size:15px}
header .top nav [aria-current]{color:var(--ink);font-weight:650}
header .top form{margin:0}
.brand{font-weight:700;letter-spacing:-.01em;margin:0}
.brand small{font-weight:400;color:var(--soft);margin-left:8px}
h1{font-size:26px;margin:0 0 14px}
main{flex:1}
section{padding:18px 20px}
.chips{display:flex;flex-wrap:wrap;gap:6px;list-style:none;margin:0 0 14px;padding:0}
.chips a{display:inline-block;border:1px solid var(--line);border-radius:999px;padding:3px 12px;font-size:14px;
background:var(--card)}
.chips a[aria-current]{border-color:var(--accent);font-weight:650}
.chips b{font-weight:600;color:var(--soft);margin-left:5px}
.state{display:inline-block;border:1px solid currentColor;border-radius:999px;padding:0 9px;font-size:12.5px;
font-weight:600;white-space:nowrap}
.state.good{color:var(--good)}.state.bad{color:var(--bad)}.state.wait{color:var(--wait)}.state.move{color:var(--accent)}
.state.over{color:var(--soft)}
.list td,.list th{vertical-align:top;text-align:left;white-space:normal}
.list td.number,.list th.number{text-align:right}
.list small,td small,th small{font-weight:400}
.list small{display:block;color:var(--soft);font-size:12.5px}
.list tbody tr:hover{background:var(--track)}
.list .who{min-width:11em;overflow-wrap:anywhere}
.list .what{min-width:9em}
.list .wrong{min-width:15em;max-width:46em;overflow-wrap:anywhere}
.list time{white-space:nowrap}
.list .states>span+span{margin-left:4px}
.list p{margin:0 0 3px}
.find{display:flex;flex-wrap:wrap;gap:6px 10px;align-items:center;margin:0 0 14px;font-size:14px}
section>details:only-child{border-top:0;padding:0}
.pager{display:flex;gap:18px;margin:6px 0 0}
.acts{display:flex;flex-wrap:wrap;gap:10px;margin:12px 0 4px;align-items:end}
.acts form{margin:0;display:flex;gap:8px;align-items:end;flex-wrap:wrap}
button{font:inherit;font-weight:600;border-radius:8px;padding:6px 14px;border:1px solid var(--accent);cursor:pointer;
background:var(--card);color:var(--accent)}
button.main{background:var(--accent);color:var(--on-accent)}
button:hover{filter:brightness(1.08)}
input,select,textarea{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--edge);
border-radius:7px;padding:6px 9px;max-width:100%}
[aria-invalid=true]{border-color:var(--bad);border-width:2px}
.fields{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,250px),1fr));gap:16px 26px;
margin:12px 0 16px}
.fields>div{min-width:0}
.fields label{display:block;font-weight:600;font-size:14px}
.fields .hint{color:var(--soft);font-size:13px;margin:0 0 4px}
.fields .error{color:var(--bad);font-size:13.5px;font-weight:600;margin:4px 0 0}
.fields .pair{display:flex;gap:8px}
.fields .pair input{flex:1;min-width:0}
.fields :is(input,select,textarea){width:100%}
.fields .pair select{width:auto}
.fields .broad{grid-column:1/-1}
.fields .unit{align-self:center;color:var(--soft);white-space:nowrap}
.tick{display:flex;gap:8px;align-items:baseline}
.tick input{flex:none}
.problem{font-weight:600;overflow-wrap:anywhere}
ul.remedies{margin:6px 0 4px;padding-left:18px}
ul.remedies li{margin-bottom:4px;overflow-wrap:anywhere}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.92em;overflow-wrap:anywhere}
.verdict{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 22px;margin:10px 0}
.verdict b{font-size:27px;font-weight:650;letter-spacing:-.015em;line-height:1.2;overflow-wrap:anywhere}
.verdict span{font-size:27px;font-weight:300}
.heading{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center}
.heading h2{margin:0}
.steps{list-style:none;margin:10px 0;padding:0;display:flex;flex-wrap:wrap;gap:6px 22px;font-size:13.5px}
.steps b{display:block;font-weight:600}
.problem,.scroll,ul.remedies{margin-top:8px}
.steps span{color:var(--soft)}
.chart{display:block;width:100%;height:150px;margin:8px 0 2px}
.chart .grid{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
.ends{display:flex;justify-content:space-between;font-size:12.5px;color:var(--soft);margin:0 0 10px}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);margin:0}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
.key .a{background:var(--accent)}.key .b{background:var(--pale)}
.login{max-width:420px;margin:8vh auto 0}
.login input{width:100%;margin:4px 0 14px}
.quiet{border:0;padding:0;background:none;font-weight:400}
.skip{position:absolute;left:-9999px}
.skip:focus{left:12px;top:8px;background:var(--card);padding:6px 12px;z-index:1}
@media(max-width:640px){main,header,footer{padding-left:14px;padding-right:14px}section{padding:14px}}
@media(min-width:2400px){body{font-size:17px}.list{font-size:15.5px}}
"""


@cache
def page_style() -> str:
    """The whole style sheet: the same of every page of the service."""
    light = {"edge": "#7d8896", "wait": "#8a5300", "on-accent": "#ffffff"}
    dark = {"edge": "#76828f", "wait": "#ffc46b", "on-accent": "#0b1220"}
    return stylesheet(_RULES, light=light, dark=dark)
