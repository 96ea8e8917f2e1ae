"""What trained the small models and what judges them; run it as ``python -m recipes.NAME`` in the repository's root."""
