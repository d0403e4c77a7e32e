"""Arithmetic on colours: spaces, bytes, palettes, matching, Voronoi cells."""
