"""What "aligned" means: similarities, and the data term that works them box by box."""
