#include <absl/text.h>
int serdes_size() { return absl_length("x"); }
