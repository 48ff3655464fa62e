"""Where build commands run: a sandbox made by bubblewrap, which takes away all of the machine but what a build has to see."""
