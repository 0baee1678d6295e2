"""Sessions: what they are set to, who may open one, and what they do."""
