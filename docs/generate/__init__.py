"""Pages of the site that are made from the code, the patches and the noxfile at build time."""
