#include <pybind11/pybind11.h>
int nixl_answer();
PYBIND11_MODULE(_bindings, module) { module.def("answer", &nixl_answer); }
