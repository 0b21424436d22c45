"""Which seeds of the synthetic phantoms belong to which split."""

SPLITS: dict[str, range] = {
    "encoder": range(700),  # trains the image branch
    "fusion": range(10_000, 10_800),  # trains the heads, on features the image branch has not fitted
    "validation": range(20_000, 20_200),  # every choice is made here
    "test": range(40_000, 40_600),  # looked at once, by evaluate.py
}
