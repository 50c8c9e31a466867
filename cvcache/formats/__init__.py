"""How bytes look: the suffix of an item's name decides how an object becomes bytes and back."""

from cvcache.formats.registry import KINDS, Format, FormatModule, find_format, register_format

__all__ = ["KINDS", "Format", "FormatModule", "find_format", "register_format"]
