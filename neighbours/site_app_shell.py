"""Run the code that is given as the argument."""

import sys

exec(sys.argv[1])
