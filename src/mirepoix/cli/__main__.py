"""``python -m mirepoix.cli``: the same as the console script."""

from mirepoix.cli.main import mirepoix

mirepoix(prog_name="mirepoix")
