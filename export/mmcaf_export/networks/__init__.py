"""Networks the exporter can build from a checkpoint."""
