"""What a result was made from: a value becomes canonical JSON, and that a digest."""

from cvcache.keys.key import key_form, key_form_with_items

__all__ = ["key_form", "key_form_with_items"]
