"""What there is to say of a record while it is read."""

from dataclasses import dataclass, field

MAX_EXPLAINED = 5
"""Sentences of a record that its refusal repeats."""


@dataclass
class Notes:
    """warnings: on what contradicts or is irregular. remarks: on what is absent, or was passed over."""

    warnings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def explain(self) -> str:
        """Both as sentences, for a refusal that they explain; empty without any."""
        said = [one[:1].upper() + one[1:] for one in dict.fromkeys([*self.warnings, *self.remarks])]
        more = [f"And {len(said) - MAX_EXPLAINED} more."] if len(said) > MAX_EXPLAINED else []
        return " ".join([*said[:MAX_EXPLAINED], *more])
