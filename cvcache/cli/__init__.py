"""The command line."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.cli import demo, main, view
    from cvcache.cli.demo_image import image_version, read_image
    from cvcache.cli.main import cli

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["demo", "main", "view"],
    submod_attrs={
        "demo_image": ["image_version", "read_image"],
        "main": ["cli"],
    },
)
