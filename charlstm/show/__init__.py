"""Records and reports -> what a person sees.

Read `terminal` first.
"""
