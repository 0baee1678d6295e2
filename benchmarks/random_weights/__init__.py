"""Models with random weights: speed does not depend on the numbers, so any size can be measured."""
