"""A generation's life: its check, its time as the live one, its draining and its end, and what is told of it."""
