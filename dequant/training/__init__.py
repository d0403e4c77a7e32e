"""What happens in a fit: modules, callbacks, checkpoints, devices."""
