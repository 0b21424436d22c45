"""Decision curves: what acting on the network's answer is worth (Vickers and Elkin, Med Decis Making 26, 2006)."""

from dataclasses import dataclass

from .delong import Labels, Scores

THRESHOLDS = tuple(round(at / 100, 2) for at in range(1, 100))


@dataclass(frozen=True)
class Benefit:
    """True positives less false positives, these weighted by the odds of the threshold, each as a share of all.

    treat_all: the same where everyone is treated; where no one is, it is 0.
    """

    threshold: float
    net_benefit: float
    treat_all: float


def decision_curve(truth: Labels, probabilities: Scores) -> tuple[Benefit, ...]:
    """At each of THRESHOLDS; none without studies.

    Args:
        truth: 1 for yes and 0 for no, [S]. probabilities: of yes, [S].
    """
    total, so = len(truth), truth == 1
    if not total:
        return ()
    share = float(so.mean())

    def benefit(threshold: float) -> Benefit:
        odds, said = threshold / (1 - threshold), probabilities >= threshold
        gained, harmed = int((said & so).sum()), int((said & ~so).sum())
        return Benefit(threshold, (gained - harmed * odds) / total, share - (1 - share) * odds)

    return tuple(benefit(threshold) for threshold in THRESHOLDS)
