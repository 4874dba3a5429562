"""A shop: an order is reserved, paid and packed by a chain of processors, and its buyer looks on."""
