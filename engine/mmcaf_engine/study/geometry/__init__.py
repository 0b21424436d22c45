"""Where slices lie, and what makes a volume of them."""
