"""What the recipes look at: the seeds, and the images, prompts and captions that are drawn from them."""
