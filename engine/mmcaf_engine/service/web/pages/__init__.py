"""The page of the service: what a person sees of it in a browser, and does there."""
