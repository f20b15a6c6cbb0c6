"""Text files -> ids: reads text of any kind, holds some of it out, encodes it, and lays it out in batches.

Paths come in, a `Corpus` of memory-mapped ids comes out. Read `corpus` first, then what it calls in its order:
`listing`, `gather`, `parts`; `tokenizer` knows what ids stand for, and `batches` what a training step reads.
"""
