"""Why a run got its score: the network's logit shared out among the pixels, and those among the run's own fragments.

One module a step: `cover` (which fragment lights how much of which pixel), `attribution` (which pixel moved the logit,
by captum), `peaks` (which peak of which spectrum a fragment is), `pairs` (peaks that are one precursor-fragment pair,
ranked), `explanation` (all of it for one run), `deletion` (is it true: what the score does without them).
"""
