"""The programs that train the small models, judge them and measure what the chapters show; none is installed."""
