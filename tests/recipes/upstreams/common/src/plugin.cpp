#include <asio.hpp>
#include <taskflow/taskflow.hpp>
#include <ucp/api/ucp.h>
#include "nixl.h"
extern "C" int plugin_answer() { return ucp_answer() + ASIO + TASKFLOW + serdes_size() + (ucp_where()[0] == '?'); }
extern "C" const char *plugin_where() { return ucp_where(); }
