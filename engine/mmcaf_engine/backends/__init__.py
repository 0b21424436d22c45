"""The runtimes that can run a bundle's network."""
