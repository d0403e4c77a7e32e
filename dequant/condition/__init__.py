"""The seven channels that a network sees of a photo, and the patches to recolour."""
