"""Train the small CLIP: ``python -m recipes.clip.train STAGE``."""
