"""A model and a text -> figures: one forward pass, and one file per report.

Read `read` first, then `score` and `report`.
"""
