"""What a result was made from: a value becomes canonical JSON, and that a digest."""

from cvcache.keys.key import canonical_key, canonical_key_with_items

__all__ = ["canonical_key", "canonical_key_with_items"]
