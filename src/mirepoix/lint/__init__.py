"""Find code that makes a Celery task unsafe to retry. The lint only reads syntax and imports no user code.

`inspect.inspect` checks the text of one module, and `rules.RULES` lists the rules with their reasons. Each function is
checked by itself, so the effects of a helper are not seen. A rule that is not certain reports nothing, so a clean
report is not a proof.
"""
