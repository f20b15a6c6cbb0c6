"""A text and settings -> a model: the recipe, the plan of a run, and the loop that yields records.

Read `loop` first.
"""
