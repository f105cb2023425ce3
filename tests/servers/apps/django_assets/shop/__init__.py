"""A site whose static files have hashed names."""
