"""What delivery with a broker and delivery without one have in common, below both."""
