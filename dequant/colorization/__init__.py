"""Colorization systems on latent bases, one file each."""
