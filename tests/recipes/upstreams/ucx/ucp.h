extern "C" int ucp_answer(void);
static inline const char *ucp_where() { return __FILE__; }
