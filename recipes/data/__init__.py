"""Draw what the recipes look at: images, prompts and captions, from the seeds of the ledger."""
