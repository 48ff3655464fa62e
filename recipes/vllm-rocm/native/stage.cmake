# Checks what was built and takes the build folder's run paths out of it.
#
# The libraries are loaded into a process in which PyTorch is loaded already, with the one HIP runtime that all have to share:
# a run path of their own could bring in a second.

string(REPLACE "," ";" LIBRARIES "${LIBRARIES}")
foreach(library IN LISTS LIBRARIES)
  set(file "${STAGE}/vllm/${library}.abi3.so")
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "The build did not make ${library}. It is one of the libraries that vLLM loads on AMD GPUs.")
  endif()
  execute_process(COMMAND "${PATCHELF}" --remove-rpath "${file}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
