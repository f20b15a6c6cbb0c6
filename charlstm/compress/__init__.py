"""Text <-> bytes, with a model that predicts the text: exact on every machine, because all of it is integers.

In go bytes and a `Coding` (a quantised model and what it needs); out comes a container, and back. Read `archive` first,
then `coder`, `passage`, `predict` and `container`.
"""
