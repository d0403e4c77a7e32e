"""Searches for hyper-parameters and what is drawn from them."""
