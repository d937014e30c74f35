"""The decisions and reports of operators, as records and words. The command line and Django's admin print them."""
