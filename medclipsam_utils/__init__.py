"""MedCLIP-SAMv2 as a book you can run: the package behind the notebooks."""
