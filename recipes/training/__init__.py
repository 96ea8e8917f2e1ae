"""Hold what the trainings of the small CLIP and the small SAM have in common."""
