"""From slices to packets: encoders, the rate that a network carries, and its answers."""
