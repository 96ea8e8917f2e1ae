"""What the trainings of the small CLIP and the small SAM share."""
