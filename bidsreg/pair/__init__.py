"""The command ``bidsreg-pair``: two images, any method, one folder of results."""
