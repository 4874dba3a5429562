"""A private redis-server that ends with its owner, however the owner ends."""
