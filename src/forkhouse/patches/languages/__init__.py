"""What each language knows.

Where the nodes are that a selector names, the parts of a call or a list, and whether a text parses.

Every backend answers in spans of the text as it stands. Edits are spliced in at those spans, so no
other byte can change.
"""
