"""The stream: the schedule, its state, and the generator that runs it."""
