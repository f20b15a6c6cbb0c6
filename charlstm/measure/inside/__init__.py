"""What happens inside a network as it reads: signals along a text, what single units follow, and what it all costs.

A model and a text come in, frozen dataclasses go out, without torch. Read signals.py first.
"""
