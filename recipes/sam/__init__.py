"""Train the small SAM: ``python -m recipes.sam.train STAGE``."""
