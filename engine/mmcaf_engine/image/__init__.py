"""The 2D image: from a path to one radiograph or picture, and to the image input of a network."""

from .candidate import Plane
from .opening import OpenImage, list_images, open_image
from .preprocess import image_input

__all__ = ["open_image", "OpenImage", "list_images", "image_input", "Plane"]
