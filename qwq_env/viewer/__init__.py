"""Episodes and curves of a run as one HTML page that needs nothing else: `qwq view RUN`.

`source` finds what there is, `episodes` reads it, `blocks` packs it, `page` writes it. The page
itself (`page.html`) is built from the TypeScript in `page/` and committed, so that a user needs no
node: `npm ci && npm run build` there makes it again, byte for byte.

A writer may store more of an episode, as further keys of `EpisodeStore.append`: `ratios` and
`entropies` over the sampled ids of the last row (lists, or `qwq_env.columns.pack_floats` of them):
the trainer's probability of a token over the sampler's, and the entropy it was drawn with, in nats.
"""
