"""Measure what the chapters show."""
