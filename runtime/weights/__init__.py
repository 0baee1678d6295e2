"""A model's weights: loading, placement on devices, offloading."""
