"""The 2D image: from a path to one radiograph or picture."""

from .candidate import Plane
from .opening import OpenImage, list_images, open_image

__all__ = ["open_image", "OpenImage", "list_images", "Plane"]
