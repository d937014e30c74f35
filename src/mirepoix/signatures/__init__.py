"""What tasks take: their signatures, which calls fit them, and what a change of one does to calls that wait."""
