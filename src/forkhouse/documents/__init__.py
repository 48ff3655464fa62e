"""The documents that people write and read: read strictly, each problem with its line and key."""
