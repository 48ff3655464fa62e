"""What every other room stands on: errors, paths, storage, progress, the ends of processes."""
