"""Released weights: download, conversion, loading, LoRA."""
