"""The graph that everything shares: its vocabulary, its decompositions and its verifier.

An *edge program* is a ``torch.export.ExportedProgram`` in core ATen operators: functional, without
views (their ``*_copy`` forms stand for them), with parameters and buffers lifted to inputs. It
still runs in eager PyTorch, so it is its own oracle.
"""
