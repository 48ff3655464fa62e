"""Put an installed wheelhouse into a container image, without a daemon."""
