"""How good a picture is, one number per image."""
