"""A result in the forms that other systems take."""
