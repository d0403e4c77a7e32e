"""What an artist does with a photo, and the recipe that repeats it."""
