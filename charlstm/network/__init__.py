"""Ids -> scores: the recurrences, the model on torch, its single steps on numpy, and the choice of device and threads.

Read `cells` first.
"""
