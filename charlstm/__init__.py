"""charlstm: train a character-level LSTM on your own text, watch it write, measure it honestly.

One way runs through the package, and its files are met in this order:

    text -> tokenizer -> corpus -> batches -> model (cells) -> train (evaluate) -> checkpoint -> sample -> text
"""

__version__ = "0.1.0"
