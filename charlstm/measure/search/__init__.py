"""Which units of a network follow something that a reader would name: a search with controls.

A model, a text and its labels come in, a frozen `Search` goes out, without torch. Read units.py first.
"""
