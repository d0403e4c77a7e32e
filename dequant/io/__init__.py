"""Files in and out, whole or not at all: photos, palettes, figures, CSV."""
