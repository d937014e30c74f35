"""What operators do and see, in records and words: the command line and Django's admin print what is made here."""
