"""What is kept between runs, in folders of this user alone."""

from .cache import cache_folder

__all__ = ["cache_folder"]
