"""Hold the knowledge of each language.

It tells where the nodes are that a selector names, what the parts of a call or a list are, and
whether a text parses, as `forkhouse.patches.backends` asks. Every backend answers in spans of the
text as it is. Edits are spliced in at those spans, so no other byte can change.
"""
