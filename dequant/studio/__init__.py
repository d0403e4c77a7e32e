"""Edits over HTTP, on this machine: what an artist does, as a JSON API."""
