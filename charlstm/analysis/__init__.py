"""Reads a trained model, or trains a probe; the core never imports it."""
