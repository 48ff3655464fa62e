int absl_length(const char *text);
