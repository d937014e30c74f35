"""Find in source code what makes a Celery task unsafe to retry; reads syntax only and imports nothing of the user's.

`inspect.inspect` judges one text, `rules.RULES` says what is looked for and why. Each function is judged by itself:
what a helper does is not seen. A rule that is not certain keeps silent, so no finding is no proof.
"""
