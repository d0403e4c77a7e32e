"""The mathematics of noise: schedule, losses, sampler, and what a prediction is held to. No networks."""
