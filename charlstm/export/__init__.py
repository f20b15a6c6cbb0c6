"""A model in the formats of others: a checkpoint goes in, a file for another program comes out.

Read first: payload.py, what a page in a browser opens.
"""
