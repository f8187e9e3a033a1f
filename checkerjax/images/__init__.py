"""Pictures as arrays: photographs that installed packages carry, pictures of a folder, tiles of both.

Pictures are `[H, W, 3]`, float32, in [0, 1] (sRGB values as stored, not linear light).
"""

from checkerjax.images._photographs import Photograph, package_photographs, read_folder, tiles

__all__ = ["Photograph", "package_photographs", "read_folder", "tiles"]
