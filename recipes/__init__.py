"""Train the small models, judge them, and measure what the chapters show; ``recipes/all.sh`` does it all in order."""
