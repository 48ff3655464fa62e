"""Where every wheel came from, in the words of other people's tools.

Bills of materials (CycloneDX), the statement of a build (in-toto, SLSA) and its signature, licences
and known vulnerabilities. Nothing here judges a wheel: that is the audit's.
"""
