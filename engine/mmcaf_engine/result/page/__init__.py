"""The page of one answer: what a clinician or a physicist reads, as one file that needs nothing else."""
