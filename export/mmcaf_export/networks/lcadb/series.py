"""How the eight MR phases of LCA-DB are told apart, by what scanners and sites usually call them.

Each phase has rules from the surest to the last resort; `--series` overrides them for a study that they do not fit.
"""

from mmcaf_engine.manifest import BValues, SeriesRule, SeriesSpec, Turn

_DERIVED = ("*adc*", "*map*", "*sub*", "*mip*", "*loc*", "*scout*")
_DIFFUSION = ("*dwi*", "*diff*", "*trace*")
_IN_PHASE = ("in phase", "inphase", "ip", "dixon in")
_OUT_PHASE = ("out phase", "outphase", "out of phase", "opposed phase", "opp phase", "opp", "oop", "op", "dixon opp")
_DYNAMIC = ("*vibe*", "*lava*", "*thrive*", "*dyn*", "*fspgr*", "*t1*", "c")
_NOT_DYNAMIC = (*_DERIVED, *_DIFFUSION, *_IN_PHASE, *_OUT_PHASE, "t2*", "*hbp*", "*hepatobiliary*", "fat", "water")
_ARTERIAL = ("c a", "art", "arterial*", "ap", "late arterial")
_VENOUS = ("c v", "c pv", "portal*", "pv", "pvp", "venous")
_DELAYED = ("c delay*", "delay*", "dp", "equilibrium", "late venous", "transitional")
_PLAIN = ("c pre", "pre", "precontrast", "native", "plain", "non contrast", "noncontrast", "mask", "unenhanced")


def phases() -> tuple[SeriesSpec, ...]:
    """One specification per input, in the order of the network's inputs."""
    return (
        SeriesSpec(
            input="t2",
            description="T2-weighted",
            match=(
                SeriesRule(words=("t2", "t2w*", "*haste*", "*ssfse*", "*frfse*"), without=(*_DERIVED, *_DIFFUSION)),
            ),
        ),
        SeriesSpec(
            input="dwi",
            description="diffusion-weighted, high b-value",
            match=(
                SeriesRule(
                    b_value=BValues(minimum=500, maximum=1500), without=("*adc*", "*map*"), without_image_type=("ADC",)
                ),
                SeriesRule(words=_DIFFUSION, without=("*adc*", "*map*"), without_image_type=("ADC",)),
            ),
        ),
        SeriesSpec(
            input="in_phase",
            description="T1-weighted, in phase",
            match=(
                SeriesRule(image_type=("IN_PHASE", "IP")),
                SeriesRule(words=_IN_PHASE, without=(*_DERIVED, *_OUT_PHASE)),
            ),
        ),
        SeriesSpec(
            input="out_phase",
            description="T1-weighted, out of phase",
            match=(
                SeriesRule(image_type=("OUT_PHASE", "OPP_PHASE", "OUT_OF_PHASE", "OP")),
                SeriesRule(words=_OUT_PHASE, without=_DERIVED),
            ),
        ),
        _dynamic("c_pre", "before contrast", _PLAIN, 1),
        _dynamic("c_a", "arterial phase", _ARTERIAL, 2),
        _dynamic("c_delay", "delayed phase", _DELAYED, 4),
        _dynamic("c_v", "portal venous phase", _VENOUS, 3),
    )


def _dynamic(name: str, description: str, words: tuple[str, ...], position: int) -> SeriesSpec:
    """A phase of the contrast series: by its name, else as the `position`-th of four by time."""
    others = tuple(
        word
        for group in (_PLAIN, _ARTERIAL, _VENOUS, _DELAYED)
        if group is not words
        for word in group
        if word not in words
    )
    return SeriesSpec(
        input=name,
        description=f"T1-weighted, {description}",
        match=(
            SeriesRule(words=words, without=(*_NOT_DYNAMIC, *others)),
            SeriesRule(words=_DYNAMIC, without=_NOT_DYNAMIC, turn=Turn(position=position, of=4)),
        ),
    )
