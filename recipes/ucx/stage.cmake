# Lays out an installed UCX as a relocatable package, and refuses one that is not what was asked for.
#
# Input: INSTALLED (the installed prefix), STAGE (folder to make), PREFIX (that UCX was configured with), PATCHELF,
# ROCM_RUNTIME_DIRS (separated by colons), ROCM_PATH (that it was compiled against), FORBIDDEN (a path that no file of the package may contain).

cmake_minimum_required(VERSION 3.25)

function(run_patchelf output)
  execute_process(COMMAND "${PATCHELF}" ${ARGN}
    OUTPUT_VARIABLE text OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

# Copy each library in `from` under its SONAME, the only name that the loader asks for. Wheels hold no symbolic links,
# and a second copy under another name would be a second UCX in the process.
function(copy_libraries from to)
  file(GLOB candidates "${from}/lib*.so*")
  foreach(library IN LISTS candidates)
    if(NOT IS_SYMLINK "${library}")
      run_patchelf(soname --print-soname "${library}")
      file(COPY_FILE "${library}" "${to}/${soname}")
    endif()
  endforeach()
endfunction()

file(REMOVE_RECURSE "${STAGE}")
file(MAKE_DIRECTORY "${STAGE}/lib/ucx" "${STAGE}/bin")
copy_libraries("${INSTALLED}/lib" "${STAGE}/lib")
copy_libraries("${INSTALLED}/lib/ucx" "${STAGE}/lib/ucx")
foreach(tool ucx_info ucx_perftest ucx_read_profile)
  file(COPY "${INSTALLED}/bin/${tool}" DESTINATION "${STAGE}/bin")
endforeach()
file(COPY "${INSTALLED}/include" DESTINATION "${STAGE}")
file(COPY "${INSTALLED}/lib/pkgconfig" "${INSTALLED}/lib/cmake" DESTINATION "${STAGE}/lib")

file(GLOB core RELATIVE "${STAGE}/lib" "${STAGE}/lib/lib*.so.*")
foreach(name ucm ucs uct ucp)
  if(NOT core MATCHES "lib${name}[.]so[.]")
    message(FATAL_ERROR "lib${name} is missing from the installed UCX in ${INSTALLED}/lib; found: ${core}.")
  endif()
endforeach()
# What -lucp finds: a text that names the real library, in place of the symbolic link that a wheel cannot hold.
foreach(soname IN LISTS core)
  string(REGEX REPLACE "[.]so[.].*" ".so" link_name "${soname}")
  file(WRITE "${STAGE}/lib/${link_name}" "INPUT(${soname})\n")
endforeach()

# UCX looks for modules in ucx/ beside its libucs, under names that end like the name of libucs from its first dot on.
file(GLOB libucs RELATIVE "${STAGE}/lib" "${STAGE}/lib/libucs.so.*")
string(REGEX REPLACE "^libucs" "" suffix "${libucs}")
file(GLOB modules "${STAGE}/lib/ucx/*")
foreach(module IN LISTS modules)
  if(NOT module MATCHES "${suffix}$")
    message(FATAL_ERROR "UCX would never load ${module}: its name must end in ${suffix}, as that of ${libucs} does.")
  endif()
endforeach()

# configure drops a module whose needs are not met, and reports success. These are asked for, by what they must link.
set(libuct_rocm libhsa-runtime64)
set(libucm_rocm libhsa-runtime64)
set(libucx_perftest_rocm libamdhip64)
set(libuct_ib libibverbs)
set(libuct_rdmacm librdmacm)
set(libuct_cma libuct)
set(wanted libuct_rocm libucm_rocm libucx_perftest_rocm libuct_ib libuct_rdmacm libuct_cma)
# UCX 1.22 has what it does for two vendors' adapters in modules of their own, which libuct_ib was one with before.
set(libuct_ib_mlx5 libmlx5)
set(libuct_ib_efa libefa)
foreach(name libuct_ib_mlx5 libuct_ib_efa)
  if(EXISTS "${STAGE}/lib/ucx/${name}${suffix}")
    list(APPEND wanted ${name})
  endif()
endforeach()
foreach(name IN LISTS wanted)
  set(module "${STAGE}/lib/ucx/${name}${suffix}")
  if(NOT EXISTS "${module}")
    message(FATAL_ERROR
      "UCX's build left out ${name}, which the recipe asks for, and reported success. It needs ${${name}}: "
      "objects/config.log in the build folder has the check that failed. Install what is missing and build again.")
  endif()
  run_patchelf(needed --print-needed "${module}")
  if(NOT needed MATCHES "${${name}}[.]so")
    string(REPLACE "\n" ", " needed "${needed}")
    message(FATAL_ERROR "${name} was built without ${${name}}, so it is not what its name says. It links ${needed}.")
  endif()
endforeach()

# DT_RPATH, which wins over LD_LIBRARY_PATH: a site's own UCX in that variable would otherwise be mixed into this one.
# The ROCm modules get DT_RUNPATH, which LD_LIBRARY_PATH overrides: whoever sets it chooses the ROCm.
file(GLOB libraries "${STAGE}/lib/lib*.so.*")
foreach(library IN LISTS libraries)
  run_patchelf(ignored --force-rpath --set-rpath "$ORIGIN" "${library}")
endforeach()
file(GLOB tools "${STAGE}/bin/*")
foreach(tool IN LISTS tools)
  run_patchelf(ignored --force-rpath --set-rpath "$ORIGIN/../lib" "${tool}")
endforeach()
foreach(module IN LISTS modules)
  run_patchelf(needed --print-needed "${module}")
  if(needed MATCHES "libhsa-runtime64|libamdhip64")
    run_patchelf(ignored --set-rpath "$ORIGIN/..:${ROCM_RUNTIME_DIRS}" "${module}")
  else()
    run_patchelf(ignored --force-rpath --set-rpath "$ORIGIN/..:$ORIGIN" "${module}")
  endif()
endforeach()

file(GLOB_RECURSE texts "${STAGE}/lib/*.pc")
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  string(REPLACE "${PREFIX}" "\${pcfiledir}/../.." content "${content}")
  if(NOT ROCM_PATH STREQUAL "/usr")
    string(REPLACE "${ROCM_PATH}" "/opt/rocm" content "${content}")
  endif()
  file(WRITE "${text}" "${content}")
endforeach()
file(GLOB_RECURSE texts "${STAGE}/lib/*.cmake")
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  string(REPLACE "${PREFIX}" "\${CMAKE_CURRENT_LIST_DIR}/../../.." content "${content}")
  # An imported library is the library itself, not the text that names it.
  string(REGEX REPLACE "(lib(ucm|ucs|uct|ucp))[.]so\"" "\\1${suffix}\"" content "${content}")
  file(WRITE "${text}" "${content}")
endforeach()

execute_process(COMMAND grep --recursive --text --files-with-matches --fixed-strings -e "${FORBIDDEN}" "${STAGE}"
  OUTPUT_VARIABLE found RESULT_VARIABLE status)
if(NOT status EQUAL 1)
  message(FATAL_ERROR "The build folder's path is in files of the package, so it is not relocatable:\n${found}")
endif()
