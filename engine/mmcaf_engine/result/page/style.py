"""The look of what the page of an answer has alone: the verdict, the pictures, and one sheet of paper."""

from ...page.style import stylesheet
from ..drawing import HIGH, LOW
from .attention import SHADES
from .pictures import MOST_MAPS

_RULES = """
header{padding-bottom:20px}
.research{color:var(--bad);font-weight:600;font-size:14px;border-bottom:1px solid var(--line);padding-bottom:10px;
margin-bottom:18px}
.verdict{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 40px;margin:4px 0 10px}
.verdict h1{font-size:44px;font-weight:650;line-height:1.12;margin:0;letter-spacing:-.02em;max-width:100%}
.verdict h1.long{font-size:24px;line-height:1.25;letter-spacing:0}
.sure{font-size:44px;font-weight:300;line-height:1.12;margin:0}
.sure small{font-size:15px;font-weight:400;color:var(--soft);margin-left:10px}
.warned{margin:0;font-weight:600}
main{display:grid;grid-template-columns:minmax(0,1fr);gap:18px}
section{margin:0}
h2{margin-bottom:12px}
.column{display:grid;grid-template-columns:minmax(0,1fr);gap:18px;align-content:start}
td small,th small{display:block;font-weight:400;color:var(--soft);font-size:12.5px}
#answer tbody th,#record tbody th{white-space:normal;overflow-wrap:anywhere;min-width:8em}
#answer td.gauge{min-width:48px}
#record td.words{min-width:5em}
#study td.words,#attention td.words{min-width:7em}
.facts+.scroll{margin-top:14px}
.images{display:grid;grid-template-columns:minmax(0,1fr);gap:24px 32px;align-items:start}
figure{margin:0;display:grid;grid-template-columns:minmax(0,1fr);align-content:start;min-width:0}
figcaption{font-size:12.5px;color:var(--soft);text-align:center;padding-top:4px}
.sides{display:flex;justify-content:space-between;gap:6px}
.sides::before{content:"R"}
.sides::after{content:"L"}
.keys{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:14px;margin-bottom:14px}
.keys>div{display:grid;gap:10px;align-content:start;min-width:0}
.plane{position:relative;display:block;background:#000;aspect-ratio:1}
.plane img{position:absolute;inset:0;width:100%;height:100%;object-fit:contain}
.viewer{display:flex;flex-wrap:wrap;gap:8px 4px;align-items:center;font-size:14px;min-width:0}
.viewer label{margin-right:14px;overflow-wrap:anywhere}
.viewer input{accent-color:var(--accent);margin:0 4px 0 0}
.viewer>p{width:100%;margin:0;font-size:13px}
.film{width:100%;height:min(480px,100vw);overflow-y:auto;scroll-snap-type:y mandatory;background:#000;color:#c8ced6}
.film ol{list-style:none;margin:0;padding:0;height:100%}
.film li{height:100%;scroll-snap-align:start;display:flex;flex-direction:column;padding:6px}
.film li.first{scroll-initial-target:nearest}
.film li>div{flex:1;min-height:0;display:grid;grid-template-columns:minmax(0,1fr);grid-auto-rows:minmax(0,1fr);gap:6px}
.film figure{grid-template-rows:minmax(0,1fr) auto;align-content:stretch;min-height:0}
.film .plane{aspect-ratio:auto}
.film .map{display:none}
.film p{display:flex;justify-content:space-between;margin:0;padding:4px 6px 0;font-size:13px}
.film figcaption{color:inherit;padding:0}
.several .film{height:min(640px,190vw)}
.several .film li>div{grid-template-columns:repeat(2,minmax(0,1fr))}
.meaning p{margin:0 0 6px}
.colours{display:inline-block;width:140px;height:9px;vertical-align:0;margin:0 4px;print-color-adjust:exact}
.strip{display:block;width:100%;height:64px;margin-top:8px}
.score{fill:none;stroke:var(--accent);stroke-width:2;vector-effect:non-scaling-stroke}
.strip .grid{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
.ends{display:flex;justify-content:space-between;font-size:12.5px}
.attended{margin:10px 0 0;font-size:14px;overflow-wrap:anywhere}
.attended span{border-radius:3px;padding:0 2px}
dl.inline{display:flex;flex-wrap:wrap;gap:4px 20px;margin:0;font-size:14px}
dl.inline div{overflow-wrap:anywhere}
dl.inline dt{display:inline;white-space:nowrap;color:var(--soft);margin-right:6px}
dl.inline dd{display:inline;margin:0}
@media(min-width:640px){#answer tbody th,#record tbody th{min-width:10.5em}
.keys{grid-template-columns:repeat(4,minmax(0,1fr))}
.several .film li>div{grid-template-columns:repeat(4,minmax(0,1fr))}}
.keys.single{grid-template-columns:repeat(auto-fit,minmax(min(100%,260px),440px))}
@media(min-width:960px){main{grid-template-columns:repeat(2,minmax(0,1fr))}
#slices,.across{grid-column:1/-1}
.images:not(.stacked){grid-template-columns:minmax(0,1fr) minmax(0,440px)}
.images .keys:not(.pairs,.many){grid-template-columns:repeat(2,minmax(0,1fr))}}
@media(max-width:640px){#answer .gauge{display:none}th,td{padding:7px 6px}.verdict h1,.sure{font-size:32px}}
@page{margin:10mm}
@media print{
body{font-size:6.8pt;line-height:1.2}
header,main,footer{max-width:none;padding:0}
header{padding-bottom:2mm}
p{margin-bottom:1mm}
.research{font-size:9pt;padding-bottom:1mm;margin-bottom:1.5mm}
.eyebrow{display:none}
.verdict{gap:1mm 8mm;margin:0 0 1mm}
.verdict h1,.sure{font-size:20pt}
.verdict h1.long{font-size:10pt;flex:1;min-width:0}
.sure small{font-size:8pt}
main{grid-template-columns:repeat(2,minmax(0,1fr));gap:0 6mm}
main.dense{font-size:6pt;line-height:1.18}
main.dense :is(h2,h3){font-size:7pt;margin-bottom:.3mm}
main.dense section{padding:.9mm 0 1mm}
main.dense :is(th,td){padding:.1mm 2mm}
main.dense .images .keys.many{grid-template-columns:repeat(8,19mm);justify-content:space-between}
main.dense .images .keys.pairs{grid-template-columns:repeat(4,26mm)}
#slices,.across{grid-column:1/-1}
.column{gap:0}
section{background:none;border:0;border-top:.5pt solid var(--line);border-radius:0;padding:1.4mm 0 1.6mm}
h2{font-size:8.5pt;margin-bottom:.8mm}
h3{font-size:7pt;margin:1mm 0 0}
table,dl.facts,dl.inline,ul.notes,caption,td small,th small,figcaption,.ends,thead th{font-size:inherit}
caption{padding:0}
th,td{padding:.35mm 2mm}
td.words,th.words,thead th{min-width:0}
dl.facts{grid-template-columns:max-content 1fr;gap:.2mm 3mm}
dl.facts dd{margin:0}
dl.inline{gap:.2mm 4mm}
ul.notes{padding-left:3mm}
ul.notes li{margin-bottom:.3mm}
.scroll{overflow:visible;margin:0;padding:0}
.viewer,.windows .scroll{display:none}
.strip{height:9mm;margin-top:.5mm}
.images,.images:not(.stacked){display:block}
.keys,.images .keys:not(.pairs,.many){grid-template-columns:repeat(4,minmax(0,1fr));gap:1.5mm 3mm;margin-bottom:1mm}
.images .keys.pairs{grid-template-columns:repeat(4,29mm);justify-content:space-between}
.images .keys.many{grid-template-columns:repeat(8,minmax(0,1fr));gap:1.5mm}
.keys>div{gap:1mm}
.keys.single{grid-template-columns:repeat(auto-fill,60mm)}
figcaption{padding-top:.4mm}
a{color:inherit}
.clamp,dl.facts dd,.verdict h1.long,dl.inline div{display:-webkit-box;-webkit-box-orient:vertical;
-webkit-line-clamp:2;overflow:hidden}
.verdict h1.long{-webkit-line-clamp:3}
main.dense th .clamp{-webkit-line-clamp:1}
#answer tbody th,#record tbody th{min-width:26mm}
#record td.words{min-width:14mm}
.facts+.scroll{margin-top:1mm}

}
"""


def answer_style() -> str:
    """The page's whole CSS."""
    low, high = (f"rgb({','.join(f'{value:.0f}' for value in colour)})" for colour in (LOW, HIGH))
    chosen = ",".join(f"#map-{number}:checked~.film .map-{number}" for number in range(MOST_MAPS))
    shades = "".join(
        f".w{shade}{{background:color-mix(in srgb,var(--accent) {40 * shade // SHADES}%,transparent)}}"
        for shade in range(1, SHADES + 1)
    )
    return stylesheet(
        _RULES, shades, f".colours{{background:linear-gradient(90deg,{low},{high})}}{chosen}{{display:block}}"
    )
