"""Damaged studies, records, pictures and manifests, each the same for the same seed: one module for each structure.

What they meet may only be an error of ours, which names neither the patient nor steers a terminal; where the structure
of an input was broken, no other answer than the undamaged one's comes in silence. `run` tries cases in this process;
benchmarks/fuzz.py tries many under bounds on time and memory.
"""

from .run import KINDS, SHARES, Cases, Finding, Outcome, run, shares

__all__ = ["KINDS", "SHARES", "Cases", "Finding", "Outcome", "run", "shares"]
