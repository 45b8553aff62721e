"""The null backend: its delegate writes zeros. For tests and for measuring what is around it."""
