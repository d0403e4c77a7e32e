"""For users: photos and edits in, pictures out. No training."""
