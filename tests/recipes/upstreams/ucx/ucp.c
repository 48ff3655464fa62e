const char *ucs_home(void);
int uct_lanes(void);
int ucp_answer(void) { return ucs_home()[0] == 'h' ? 40 + uct_lanes() : 0; }
