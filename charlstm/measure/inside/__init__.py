"""What happens inside a network as it reads: signals along a text, and what a character costs.

A model and a text come in, frozen dataclasses go out, without torch. Read signals.py first.
"""
