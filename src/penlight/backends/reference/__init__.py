"""The reference backend: it delegates everything to our own kernels, to prove the delegate path."""
