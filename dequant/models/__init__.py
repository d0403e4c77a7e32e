"""The frozen base, the control encoder, and where their weights come from."""
