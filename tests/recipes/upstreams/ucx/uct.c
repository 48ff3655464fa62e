int uct_lanes(void) { return 2; }
