const char *ucs_home(void) { return "home"; }
