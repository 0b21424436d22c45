"""The accuracy gate: what each precision of a bundle costs, compared with FP32 on a cohort of studies.

`cohort` names the studies, `compare` runs and compares, `metrics` and `intervals` do the statistics,
`accuracy` is the outcome as a bundle's accuracy.json.
"""
