"""What delivery with a broker and delivery without a broker share. Both import this, and it imports neither."""
