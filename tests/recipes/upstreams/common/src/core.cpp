#include <dlfcn.h>
#include <string>
#include "nixl.h"
int nixl_answer() {
  Dl_info info;
  dladdr(reinterpret_cast<void *>(&nixl_answer), &info);
  std::string place(info.dli_fname);
  place = place.substr(0, place.rfind('/')) + "/plugins/libplugin_UCX.so";
  void *plugin = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) return -1;
  return serdes_size() + reinterpret_cast<int (*)()>(dlsym(plugin, "plugin_answer"))();
}
