"""Models and runs <-> files: one verified `.safetensors` file per checkpoint, written completely or not at all.

Read `checkpoint` first.
"""
