"""Figures of a cohort with their uncertainty: plain functions of labels, scores and decisions."""
