"""The verdict: what the runs of one or several sweeps say. Reads records and predictions only, and needs no torch."""
